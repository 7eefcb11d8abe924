//! Whatever an issuer signs, its token lets in as the rules say: against a model that shares no code with them.

use ::ring::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::{fuzzing, reason::Reason};

const NOW: u64 = 1_800_000_000;

fn signed(claims: &[u8]) -> Vec<u8> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, fuzzing::SECRET.as_bytes());
    format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes()).as_ref())).into_bytes()
}

fn check(claims: &[u8]) -> Result<Value, Reason> {
    let gate = fuzzing::gate();
    let tokens = gate.tokens().expect("tokens are read");
    let token = signed(claims);
    let first = tokens
        .check(&token, NOW)
        .map(|identity| identity.claims.map(|claims| Value::Object((*claims).clone())));
    let again = tokens
        .check(&token, NOW)
        .map(|identity| identity.claims.map(|claims| Value::Object((*claims).clone())));
    assert_eq!(first, again, "what is remembered says the same");
    first.map(|claims| claims.expect("a token has claims"))
}

/// A claim, and whether it is as it must be.
type Claim = (Value, bool);

fn issuer() -> impl Strategy<Value = Claim> {
    let ours = json!("https://issuer.example");
    select(vec![
        (ours.clone(), true),
        (json!("https://issuer.example/"), false),
        (json!([ours]), false),
        (Value::Null, false),
        (json!(""), false),
    ])
}

fn audience() -> impl Strategy<Value = Claim> {
    select(vec![
        (json!("larder"), true),
        (json!(["other", "larder"]), true),
        (json!("Larder"), false),
        (json!(["other"]), false),
        (json!([]), false),
        (json!({ "larder": true }), false),
        (Value::Null, false),
    ])
}

fn expiry() -> impl Strategy<Value = Claim> {
    let number = (NOW - 100..NOW + 100).prop_map(|exp| (json!(exp), NOW < exp + 30));
    let odd = select(vec![
        (json!(u64::MAX), true),
        (json!(1e30), true),
        (json!(-1), false),
        (json!(0), false),
        (json!("4102444800"), false),
        (json!([4_102_444_800_u64]), false),
        (Value::Null, false),
    ]);
    prop_oneof![3 => number, 1 => odd]
}

fn beginning() -> impl Strategy<Value = Option<Claim>> {
    let number = (NOW - 100..NOW + 100).prop_map(|nbf| (json!(nbf), nbf <= NOW + 30));
    let odd =
        select(vec![(json!("now"), false), (Value::Null, false), (json!(u64::MAX), false), (json!(0), true)]);
    proptest::option::of(prop_oneof![number, odd])
}

fn role() -> impl Strategy<Value = Option<Claim>> {
    proptest::option::of(select(vec![
        (json!("reader"), true),
        (json!(["nobody", "reader"]), true),
        (json!([]), true),
        (Value::Null, true),
        (json!("anonymous"), false),
        (json!(["anonymous", 7]), false),
        (json!({ "reader": true }), false),
    ]))
}

proptest! {
    #[test]
    fn a_token_lets_in_if_all_of_its_claims_do(
        iss in issuer(), aud in audience(), exp in expiry(), nbf in beginning(), role in role(),
    ) {
        let mut claims = json!({ "iss": iss.0, "aud": aud.0, "exp": exp.0 });
        let mut lets_in = iss.1 && aud.1 && exp.1;
        for (name, claim) in [("nbf", nbf), ("role", role)] {
            if let Some((value, is_right)) = claim {
                claims[name] = value;
                lets_in &= is_right;
            }
        }
        let checked = check(claims.to_string().as_bytes());
        prop_assert_eq!(checked.is_ok(), lets_in, "{}: {:?}", claims, checked);
        if let Ok(seen) = checked {
            prop_assert_eq!(seen, claims);
        }
    }

    #[test]
    fn claims_that_are_no_json_let_nobody_in(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check(&bytes).is_err());
    }
}

#[test]
fn a_token_is_told_from_a_key_by_its_letters_and_dots() {
    for token in ["a.b.c", "a.b.", "a..", "A-z_9.0.-"] {
        assert!(super::is_token(token.as_bytes()), "{token}");
    }
    for key in ["", ".", "..", ".a.b", "a.b", "a.b.c.d", "abc"] {
        assert!(!super::is_token(key.as_bytes()), "{key}");
    }
    for byte in u8::MIN..=u8::MAX {
        let is_of_token = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        assert_eq!(super::is_token(&[b'a', b'.', byte, b'.']), is_of_token, "{byte}");
    }
}

#[test]
fn a_claim_that_stands_there_twice_lets_nobody_in() {
    let sound = r#""iss":"https://issuer.example","aud":"larder","exp":4102444800"#;
    assert!(check(format!("{{{sound}}}").as_bytes()).is_ok());
    for twice in [r#""exp":1"#, r#""iss":"https://evil.example""#, r#""aud":"other""#] {
        for claims in [format!("{{{twice},{sound}}}"), format!("{{{sound},{twice}}}")] {
            assert_eq!(check(claims.as_bytes()), Err(Reason::Malformed), "{claims}");
        }
    }
}
