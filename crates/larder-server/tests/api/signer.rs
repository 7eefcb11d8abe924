//! Keys that sign tokens, made on the spot, and the tokens.

use std::sync::LazyLock;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use larder::{Clock, SystemClock};
use num_bigint::BigUint;
use rand::RngCore;
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::{self, KeyPairComponents, PublicKeyComponents},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair,
    },
};
use serde_json::{Value, json};

/// The issuer and the audience of [`claims`].
pub(crate) const ISSUER: &str = "https://login.example/";
pub(crate) const AUDIENCE: &str = "https://shop.example/api";

/// Text as it stands in a token.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds of Unix time, so many from now.
pub(crate) fn in_seconds(seconds: i64) -> i64 {
    SystemClock.unix_ms() as i64 / 1_000 + seconds
}

/// The claims of a token that lets in, changed by these; null removes one.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": in_seconds(600), "sub": "ann@shop.example", "role": "reader" });
    for (name, value) in changes.as_object().expect("changes are an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().and_then(|claims| claims.remove(name))),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A key that signs.
pub(crate) enum Signer {
    Secret(Vec<u8>),
    Rsa(&'static rsa::KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Finding primes takes a moment: one pair serves all tests.
static RSA: LazyLock<rsa::KeyPair> = LazyLock::new(make_rsa);

impl Signer {
    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::Secret(secret.to_vec())
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(&RSA)
    }

    pub(crate) fn p256() -> Self {
        Self::P256(make_curve(&ECDSA_P256_SHA256_FIXED_SIGNING))
    }

    pub(crate) fn p384() -> Self {
        Self::P384(make_curve(&ECDSA_P384_SHA384_FIXED_SIGNING))
    }

    pub(crate) fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key can be made");
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("it reads back"))
    }

    /// A token with this head: `alg` says how it is signed.
    pub(crate) fn token(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64url(head.to_string()), base64url(claims.to_string()));
        let signature = self.sign(head["alg"].as_str().unwrap_or_default(), message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let digest = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(digest, secret), message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).expect("RSA signs");
                signature
            }
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&random, message).expect("the curve signs").as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public half, as an issuer publishes it.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let public = self.public();
        let coordinates = |length: usize| (base64url(&public[1..=length]), base64url(&public[length + 1..]));
        match self {
            Self::Secret(secret) => json!({ "kty": "oct", "kid": id, "k": base64url(secret) }),
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "kid": id, "use": "sig", "n": base64url(n), "e": base64url(e) })
            }
            Self::P256(_) => {
                let (x, y) = coordinates(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y })
            }
            Self::P384(_) => {
                let (x, y) = coordinates(48);
                json!({ "kty": "EC", "crv": "P-384", "kid": id, "x": x, "y": y })
            }
            Self::Ed25519(_) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64url(public) }),
        }
    }

    /// The public half in PEM; of RSA alone, of the others with their kind before the bytes.
    pub(crate) fn pem(&self) -> String {
        const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        let (label, kind) = match self {
            Self::P256(_) => ("PUBLIC KEY", P256),
            Self::Ed25519(_) => ("PUBLIC KEY", ED25519),
            _ => ("RSA PUBLIC KEY", &[][..]),
        };
        let text = STANDARD.encode([kind, &self.public()].concat());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("base64 is text"))
            .collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// The bytes of the public half.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self {
            Self::Secret(secret) => secret.clone(),
            Self::Rsa(pair) => pair.public().as_ref().to_vec(),
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

fn make_curve(curve: &'static signature::EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a key can be made");
    EcdsaKeyPair::from_pkcs8(curve, made.as_ref(), &random).expect("it reads back")
}

/// ring makes no RSA keys, and none is to lie in this repository.
fn make_rsa() -> rsa::KeyPair {
    let (one, exponent) = (BigUint::from(1_u32), BigUint::from(65_537_u32));
    let [mut p, mut q] = [prime(), prime()];
    if p < q {
        std::mem::swap(&mut p, &mut q);
    }
    let (below_p, below_q) = (&p - &one, &q - &one);
    let d = exponent.modinv(&(&below_p * &below_q)).expect("65537 divides neither");
    let inverse = q.modinv(&p).expect("primes have no common factor");
    let bytes = |number: &BigUint| number.to_bytes_be();
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: bytes(&(&p * &q)), e: bytes(&exponent) },
        d: bytes(&d),
        dP: bytes(&(&d % &below_p)),
        dQ: bytes(&(&d % &below_q)),
        qInv: bytes(&inverse),
        p: bytes(&p),
        q: bytes(&q),
    };
    rsa::KeyPair::from_components(&components).expect("two primes make a key")
}

/// A random prime of 1024 bits, but for a chance that is none.
fn prime() -> BigUint {
    let small: Vec<u32> =
        (3..2_000).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).collect();
    let one = BigUint::from(1_u32);
    loop {
        let mut bytes = [0; 128];
        rand::rng().fill_bytes(&mut bytes);
        bytes[0] |= 0xc0;
        bytes[127] |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        let below = &candidate - &one;
        let passes = |base: u32| BigUint::from(base).modpow(&below, &candidate) == one;
        let is_coprime = |factor: &u32| &candidate % *factor != BigUint::ZERO;
        if small.iter().all(is_coprime)
            && &below % 65_537_u32 != BigUint::ZERO
            && [2, 3, 5].into_iter().all(passes)
        {
            return candidate;
        }
    }
}
