//! Keys that tokens are verified with: read from a JWKS, a PEM file or a secret, each with the algorithms that it may serve.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// More than any issuer has at one time.
const MAX_KEYS: usize = 64;
/// ring verifies with nothing shorter.
const LEAST_RSA_BYTES: usize = 256;

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its `kid`.
    id: Option<String>,
    /// The accepted algorithms that it serves; never empty.
    algorithms: Vec<Algorithm>,
    pub decoding: DecodingKey,
    /// The issuer has it no more: what it has signed no longer lets in.
    is_retired: AtomicBool,
}

impl Key {
    fn new(id: Option<String>, algorithms: Vec<Algorithm>, decoding: DecodingKey) -> Option<Arc<Self>> {
        let is_retired = AtomicBool::new(false);
        (!algorithms.is_empty()).then(|| Arc::new(Self { id, algorithms, decoding, is_retired }))
    }

    /// Whether what it has signed lets in no more.
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.algorithms == other.algorithms
            && self.decoding.family() == other.decoding.family()
            && material(&self.decoding) == material(&other.decoding)
    }
}

fn material(key: &DecodingKey) -> (&[u8], &[u8]) {
    match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => (bytes, &[]),
        DecodingKeyKind::RsaModulusExponent { n, e } => (n, e),
    }
}

/// All keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
    /// A token may name the key as it likes: there is one.
    is_single: bool,
    /// How many keys of the set can verify nothing that is accepted here.
    pub unusable: usize,
}

impl KeySet {
    /// The set of one secret.
    pub(super) fn of_secret(secret: &str, accepted: &[Algorithm]) -> Self {
        Self::of_one(DecodingKey::from_secret(secret.as_bytes()), accepted.to_vec())
    }

    /// The set of one public key in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of_pem(pem: &[u8], accepted: &[Algorithm]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(pem);
        if !text.contains("-----BEGIN PUBLIC KEY-----") && !text.contains("-----BEGIN RSA PUBLIC KEY-----") {
            return Err("it holds no public key (\"BEGIN PUBLIC KEY\") in PEM".to_owned());
        }
        let read = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let key = read.into_iter().find_map(|read| read(pem).ok());
        let key = key.ok_or("its key is none of RSA, elliptic curve and Ed25519")?;
        let algorithms = accepted_by(served(&key), accepted, None);
        if algorithms.is_empty() {
            return Err("its key fits none of the accepted algorithms, or is too short".to_owned());
        }
        Ok(Self::of_one(key, algorithms))
    }

    fn of_one(key: DecodingKey, algorithms: Vec<Algorithm>) -> Self {
        Self { keys: Key::new(None, algorithms, key).into_iter().collect(), is_single: true, unusable: 0 }
    }

    /// The set that a JWKS document describes. Keys that are of no use here are left out.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(super) fn of_jwks(document: &[u8], accepted: &[Algorithm]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Ok(Document { keys: declared }) = serde_json::from_slice(document) else {
            return Err("it is no JSON with a list of keys".to_owned());
        };
        if declared.len() > MAX_KEYS {
            return Err(format!("it has {} keys, and at most {MAX_KEYS} are read", declared.len()));
        }
        let mut set = Self::default();
        for key in declared {
            let read = serde_json::from_value(key).ok().and_then(|key| read_jwk(&key, accepted));
            match read.filter(|key| !set.has_another_of(key)) {
                Some(key) => set.keys.push(key),
                None => set.unusable += 1,
            }
        }
        Ok(set)
    }

    /// Two keys of one name would leave open which is meant.
    fn has_another_of(&self, key: &Key) -> bool {
        let serves_same = |other: &Key| other.algorithms.iter().any(|one| key.algorithms.contains(one));
        key.id.is_some() && self.keys.iter().any(|other| other.id == key.id && serves_same(other))
    }

    /// The key that a token was signed with, as its head says.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Arc<Key>, NotFound> {
        let mut serving = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) if !self.is_single => {
                serving.find(|key| key.id.as_deref() == Some(id)).ok_or(NotFound::Unknown)
            }
            // Trying them all would have a stranger's token verified as often as there are keys.
            _ => match (serving.next(), serving.next()) {
                (Some(key), None) => Ok(key),
                (None, _) => Err(NotFound::Unknown),
                (Some(_), Some(_)) => Err(NotFound::Unnamed),
            },
        }
    }

    /// Whether no other key can come.
    pub(super) fn is_final(&self) -> bool {
        self.is_single
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The algorithms that they serve, each once.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut all: Vec<Algorithm> = Vec::new();
        for algorithm in self.keys.iter().flat_map(|key| &key.algorithms) {
            if !all.contains(algorithm) {
                all.push(*algorithm);
            }
        }
        all
    }

    /// Takes over from an earlier set the keys that are in both, so that what they have signed is not verified again.
    pub(super) fn keep(mut self, earlier: &Self) -> Self {
        for key in &mut self.keys {
            if let Some(same) = earlier.keys.iter().find(|other| other.is_same(key)) {
                *key = Arc::clone(same);
            }
        }
        self
    }

    /// Has the keys that are not in the set that follows let in nobody any more.
    pub(super) fn retire(&self, next: &Self) {
        for key in self.keys.iter().filter(|key| !next.keys.iter().any(|other| Arc::ptr_eq(other, key))) {
            key.is_retired.store(true, Ordering::Release);
        }
    }
}

/// Why no key is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    /// The set does not have it: it may be newer than the set.
    Unknown,
    /// The token does not say which one it is.
    Unnamed,
}

fn read_jwk(jwk: &Jwk, accepted: &[Algorithm]) -> Option<Arc<Key>> {
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|its| *its == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|its| its.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return None;
    }
    let decoding = read_material(&jwk.algorithm)?;
    // An algorithm that is not known is none of those that are accepted.
    let only = common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
    let algorithms = accepted_by(served(&decoding), accepted, only);
    Key::new(common.key_id.clone(), algorithms, decoding)
}

/// Never an HMAC secret: one that is published is none.
fn read_material(parameters: &AlgorithmParameters) -> Option<DecodingKey> {
    match parameters {
        AlgorithmParameters::RSA(rsa) => {
            let key = DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok()?;
            let (n, e) = material(&key);
            Some(DecodingKey::from_rsa_raw_components(without_zeros(n), without_zeros(e)))
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let key = DecodingKey::from_ec_components(&point.x, &point.y).ok()?;
            let declared: &[Algorithm] = match point.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => &[],
            };
            (served(&key) == declared).then_some(key)
        }
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
            DecodingKey::from_ed_components(&point.x).ok()
        }
        _ => None,
    }
}

/// Some issuers write the sign byte of DER; ring takes the number without it.
fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

/// What a public key of this kind and size can verify.
fn served(key: &DecodingKey) -> &'static [Algorithm] {
    let length = material(key).0.len();
    match (key.family(), length) {
        (AlgorithmFamily::Rsa, LEAST_RSA_BYTES..) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        (AlgorithmFamily::Ec, 65) => &[Algorithm::ES256],
        (AlgorithmFamily::Ec, 97) => &[Algorithm::ES384],
        (AlgorithmFamily::Ed, 32) => &[Algorithm::EdDSA],
        _ => &[],
    }
}

fn accepted_by(served: &[Algorithm], accepted: &[Algorithm], only: Option<Algorithm>) -> Vec<Algorithm> {
    let is_meant = |algorithm: &&Algorithm| only.is_none_or(|only| only == **algorithm);
    served.iter().filter(|algorithm| accepted.contains(algorithm)).filter(is_meant).copied().collect()
}
