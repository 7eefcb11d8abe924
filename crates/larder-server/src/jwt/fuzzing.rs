//! What must hold of tokens and of key sets, whatever their bytes.

use std::{collections::BTreeMap, time::Instant};

use jsonwebtoken::Algorithm;

use super::{Rules, Tokens, key::KeySet, keyring::Keyring, known::Known, provider};
use crate::{auth::Gate, config};

pub(super) const SECRET: &str = "nobody-who-makes-up-bytes-knows-this-secret";

const SETTINGS: &str = r#"
role = [{ name = "reader" }]
[jwt]
algorithms = ["HS256", "HS384", "HS512"]
issuer = "https://issuer.example"
audience = ["larder"]
default_role = "reader"
"#;

const ALL: [Algorithm; 12] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::EdDSA,
];

/// Nobody is let in by a token that the issuer has not signed, and no answer repeats it.
pub fn jwt(data: &[u8]) {
    let gate = gate();
    let Some(tokens) = gate.tokens() else { panic!("tokens are read") };
    let refusal = tokens.identify(data).expect_err("nobody has signed this");
    let said = refusal.to_json().to_string();
    if let Ok(text) = std::str::from_utf8(data)
        && text.len() >= 24
    {
        assert!(!said.contains(text), "{said}");
    }
    assert!(!said.contains(SECRET), "{said}");
}

/// A key that is read from a set serves what was accepted, and never an HMAC: what is published is no secret. The set is read the same again.
pub fn jwks(data: &[u8]) {
    let Ok(set) = KeySet::of_jwks(data, &ALL) else { return };
    assert!(set.algorithms().iter().all(|algorithm| !format!("{algorithm:?}").starts_with("HS")));
    let again = KeySet::of_jwks(data, &ALL).expect("it was read before");
    let (usable, unusable) = (again.len(), again.unusable);
    let kept = again.keep(&set);
    assert_eq!((kept.len(), kept.unusable), (usable, unusable));
    set.retire(&kept);
    let none = KeySet::of_jwks(data, &[]).expect("it was read before");
    assert_eq!(none.len(), 0);
}

pub(super) fn gate() -> Gate {
    let settings = format!("{SETTINGS}secret = \"{SECRET}\"\n");
    let config =
        config::parse("fuzzed", &settings, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    provider::install();
    let keys = Keyring::default();
    keys.take(Instant::now(), Ok(KeySet::of_secret(SECRET, &ALL)));
    let tokens = Tokens {
        rules: Rules::new(&config.jwt, &config.auth),
        keys: keys.into(),
        known: Known::default(),
        _refresher: None,
    };
    Gate::new(&config.auth, Some(tokens))
}
