//! Tokens that were verified, by their hashes: never the tokens themselves.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest, Sha256};

use super::{claims::Lifetime, key::Key};
use crate::auth::Identity;

/// What all of them together may take, roughly.
const MAX_BYTES: u64 = 32 << 20;
/// What claims take as JSON values, for each byte of the token: names, nodes, spare room.
const BYTES_PER_TOKEN_BYTE: u64 = 4;
/// What the map and the shared counts take for one.
const BYTES_PER_ENTRY: u64 = 256;

/// The SHA-256 of a token.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(token: &[u8]) -> Fingerprint {
    Sha256::digest(token).into()
}

/// A token whose signature and claims were right.
#[derive(Debug)]
pub(super) struct Verified {
    pub identity: Identity,
    pub lifetime: Lifetime,
    pub key: Arc<Key>,
}

#[derive(Clone, Debug)]
struct Entry {
    verified: Arc<Verified>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Fingerprint, Entry> for ByBytes {
    fn weight(&self, _: &Fingerprint, entry: &Entry) -> u64 {
        entry.bytes
    }
}

/// A bounded map of them; the ones that are not asked for make room.
#[derive(Debug)]
pub(super) struct Known(Cache<Fingerprint, Entry, ByBytes>);

impl Default for Known {
    fn default() -> Self {
        let usual = BYTES_PER_ENTRY + 600 * BYTES_PER_TOKEN_BYTE;
        Self(Cache::with_weighter((MAX_BYTES / usual) as usize, MAX_BYTES, ByBytes))
    }
}

impl Known {
    /// One that its key still speaks for. Whether it has ended is for the caller to see.
    pub(super) fn find(&self, fingerprint: &Fingerprint) -> Option<Arc<Verified>> {
        let verified = self.0.get(fingerprint)?.verified;
        if verified.key.is_retired() {
            self.0.remove(fingerprint);
            return None;
        }
        Some(verified)
    }

    pub(super) fn insert(&self, fingerprint: Fingerprint, verified: Verified, token_bytes: usize) {
        let bytes = BYTES_PER_ENTRY + token_bytes as u64 * BYTES_PER_TOKEN_BYTE;
        self.0.insert(fingerprint, Entry { verified: Arc::new(verified), bytes });
    }
}
