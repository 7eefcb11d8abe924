//! Who a request comes from: API keys, known by their hashes, tokens of an issuer, and the roles they carry.

use std::sync::Arc;

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    config::{ANONYMOUS, ApiKey, Auth},
    jwt::{Tokens, is_token},
    routes::Refusal,
};

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The place of a role in the configuration; grants are looked up by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoleId(pub usize);

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub role: RoleId,
    /// What else is known of the sender, by name; `None` if nothing is.
    pub claims: Option<Arc<Map<String, Value>>>,
}

impl Identity {
    /// Someone of whom nothing but the role is known.
    fn of_role(role: RoleId) -> Self {
        Self { role, claims: None }
    }
}

/// Tells requests apart by their keys and tokens.
#[derive(Debug)]
pub(crate) struct Gate {
    auth: Auth,
    /// The hash of each key, and who bears it.
    keys: Vec<([u8; 32], Identity)>,
    anonymous: RoleId,
    /// Gone where no issuer is declared: every credential is a key then.
    tokens: Option<Tokens>,
}

impl Gate {
    pub(crate) fn new(auth: &Auth, tokens: Option<Tokens>) -> Self {
        let find =
            |name: &str| RoleId(auth.roles.iter().position(|role| role.name == name).unwrap_or_default());
        let identity = |key: &ApiKey| Identity {
            role: find(&key.role),
            claims: key.claims.as_ref().map(|claims| claims.0.clone()),
        };
        let keys = auth.keys.iter().map(|key| (key.sha256, identity(key))).collect();
        Self { keys, anonymous: find(ANONYMOUS), auth: auth.clone(), tokens }
    }

    /// What tells tokens apart, if any are read.
    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Everyone may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.auth.open
    }

    /// Whether this is the role of requests without a key or token.
    pub(crate) fn is_anonymous(&self, role: RoleId) -> bool {
        role == self.anonymous
    }

    /// The name of a role.
    pub(crate) fn role_name(&self, role: RoleId) -> &str {
        &self.auth.roles[role.0].name
    }

    /// How many roles there are; ids count from 0.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &str> {
        self.auth.roles.iter().map(|role| role.name.as_str())
    }

    /// Whether this role may read the operator's routes.
    pub(crate) fn is_admin(&self, role: RoleId) -> bool {
        self.auth.open || self.auth.roles[role.0].admin
    }

    /// Whether this role may ask for the database past the cache.
    pub(crate) fn may_bypass(&self, role: RoleId) -> bool {
        self.auth.open || self.auth.roles[role.0].bypass
    }

    /// Who sends a request. On an open server nobody looks at keys.
    ///
    /// # Errors
    /// 401 for a key that is not known or a token that does not let in, 400 for one that cannot be read, 403 for a token without a
    /// role, 503 for one that cannot be verified just now. None repeats key or token.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        if self.auth.open {
            return Ok(Identity::of_role(self.anonymous));
        }
        let key = match (headers.get(AUTHORIZATION), headers.get(&X_API_KEY)) {
            (None, None) => return Ok(Identity::of_role(self.anonymous)),
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid(
                    "X-API-Key",
                    "send the key in Authorization or in X-API-Key, not in both",
                ));
            }
            (None, Some(key)) => key.as_bytes(),
            (Some(value), None) => {
                let credential = strip_bearer(value.as_bytes()).ok_or_else(|| {
                    Refusal::unauthorized("the Authorization header must be \"Bearer KEY\"")
                })?;
                match &self.tokens {
                    Some(tokens) if is_token(credential) => return tokens.identify(credential),
                    _ => credential,
                }
            }
        };
        self.find(key).cloned().ok_or_else(|| Refusal::unauthorized("this key is not known"))
    }

    fn find(&self, key: &[u8]) -> Option<&Identity> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        // All keys are compared, each in constant time: how long it takes says nothing about which one was near.
        let mut found = None;
        for (known, identity) in &self.keys {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(identity);
            }
        }
        found
    }
}

fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}
