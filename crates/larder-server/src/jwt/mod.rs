//! JSON Web Tokens: verified once, then known by their hashes until they end or their key does.
//!
//! A token that was seen before costs its SHA-256, a look into a bounded map and the cloning of an `Arc`.

mod claims;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod issuer;
mod key;
mod keyring;
mod known;
mod provider;
mod reason;
mod refresh;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use larder::{Clock, Error, ErrorKind, Result, SystemClock};
use serde_json::{Map, Value};
use tokio_util::task::AbortOnDropHandle;

use self::{
    claims::{Lifetime, RoleRule},
    key::Key,
    keyring::Keyring,
    known::{Known, Verified, fingerprint},
    reason::Reason,
};
pub(crate) use self::{issuer::Source, stats::TokenStats};
use crate::{
    auth::Identity,
    config::{Auth, JwtSettings},
    routes::Refusal,
};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Whether a bearer's credential is to be taken for a token and not for a key: three parts of base64url with dots between.
///
/// Every request with a token comes through here, so nothing in the loop depends on what came before: the compiler then looks at
/// many bytes at once, which is quicker than to stop at the first wrong one, as most have none.
pub(crate) fn is_token(credential: &[u8]) -> bool {
    let (mut dots, mut is_wrong) = (0_u32, false);
    for byte in credential {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let is_digit = byte.wrapping_sub(b'0') < 10;
        let is_dot = *byte == b'.';
        dots += u32::from(is_dot);
        is_wrong |= !(is_letter | is_digit | is_dot | (*byte == b'-') | (*byte == b'_'));
    }
    dots == 2 && !is_wrong && credential[0] != b'.'
}

/// Tells requests apart by their tokens. The keys are fetched anew by a task that ends with this.
#[derive(Debug)]
pub(crate) struct Tokens {
    rules: Rules,
    keys: Arc<Keyring>,
    known: Known,
    _refresher: Option<AbortOnDropHandle<()>>,
}

impl Tokens {
    /// Reads or fetches the keys; `None` if the configuration has none. An issuer that does not answer is asked again by and by.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no key that can be used.
    pub(crate) async fn open(settings: &JwtSettings, auth: &Auth) -> Result<Option<Self>> {
        let Some(source) = Source::of(settings)? else { return Ok(None) };
        provider::install();
        let keys = Arc::new(Keyring::default());
        let (begun, read) = (Instant::now(), source.read().await);
        if let (Err(wrong), false) = (&read, source.is_remote()) {
            return Err(Error::new(ErrorKind::Config, format!("read the keys of tokens: {wrong}")));
        }
        keys.take(begun, read);
        let refresher = source.changes().then(|| refresh::start(&keys, source, settings.jwks_refresh));
        let rules = Rules::new(settings, auth);
        Ok(Some(Self { rules, keys, known: Known::default(), _refresher: refresher }))
    }

    /// Whether there are keys to verify tokens with.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.is_ready()
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> &TokenStats {
        &self.keys.stats
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.keys.keys()
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// 401 for a token that does not let in, 403 for one without a role, 503 while there is no key to verify it with.
    pub(crate) fn identify(&self, token: &[u8]) -> std::result::Result<Identity, Refusal> {
        self.check(token, SystemClock.unix_ms() / 1_000).map_err(|reason| {
            self.keys.stats.note_refused(reason);
            reason.refuse()
        })
    }

    fn check(&self, token: &[u8], now: u64) -> std::result::Result<Identity, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TooLong);
        }
        let fingerprint = fingerprint(token);
        if let Some(known) = self.known.find(&fingerprint) {
            known.lifetime.check(now)?;
            return Ok(known.identity.clone());
        }
        let verified = self.verify(token, now)?;
        self.keys.stats.note_verified();
        let identity = verified.identity.clone();
        self.known.insert(fingerprint, verified, token.len());
        Ok(identity)
    }

    fn verify(&self, token: &[u8], now: u64) -> std::result::Result<Verified, Reason> {
        let head = decode_header(token)?;
        if head.crit.is_some() {
            return Err(Reason::Critical);
        }
        let validation = self.rules.validation(head.alg).ok_or(Reason::Algorithm)?;
        let key = self.keys.find(head.kid.as_deref(), head.alg)?;
        self.rules.verify(token, key, validation, now)
    }
}

/// What is demanded of a token.
#[derive(Debug)]
struct Rules {
    /// One for each accepted algorithm: what is verified must be what the head of the token says.
    validations: Vec<Validation>,
    issuer: String,
    leeway: Duration,
    roles: RoleRule,
}

impl Rules {
    fn new(settings: &JwtSettings, auth: &Auth) -> Self {
        let issuer = settings.issuer.clone().unwrap_or_default();
        let audience = settings.audience.clone().unwrap_or_default();
        let accepted = settings.algorithms.iter().flatten();
        let validations = accepted.map(|algorithm| {
            let mut validation = Validation::new(*algorithm);
            validation.set_required_spec_claims(&["iss", "aud"]);
            validation.set_issuer(&[&issuer]);
            validation.set_audience(&audience);
            // Dates are read and compared in one place, for tokens that are verified and for those that were.
            validation.validate_exp = false;
            validation
        });
        let validations = validations.collect();
        Self { validations, issuer, leeway: settings.leeway, roles: RoleRule::new(settings, auth) }
    }

    fn validation(&self, algorithm: Algorithm) -> Option<&Validation> {
        self.validations.iter().find(|validation| validation.algorithms == [algorithm])
    }

    fn verify(
        &self,
        token: &[u8],
        key: Arc<Key>,
        validation: &Validation,
        now: u64,
    ) -> std::result::Result<Verified, Reason> {
        let claims: Map<String, Value> = decode(token, &key.decoding, validation)?.claims;
        // The library lets a list pass that has the issuer in it, too.
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Reason::Issuer);
        }
        let lifetime = Lifetime::of(&claims, self.leeway)?;
        lifetime.check(now)?;
        let role = self.roles.role_of(&claims)?;
        let identity = Identity { role, claims: Some(Arc::new(claims)) };
        Ok(Verified { identity, lifetime, key })
    }
}
