//! Tokens of an issuer: who is let in by them, and who is not.

use std::{fs, net::TcpListener};

use futures_util::future::join_all;
use larder_testkit::{eventually, tls::Authority};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Larder, assert_problem,
    client::Answer,
    issuer::Issuer,
    larder::{PATIENCE, run},
    signer::{AUDIENCE, ISSUER, Signer, base64url, claims, in_seconds},
};

const KEY: &str = "the-key-of-the-till";
const SECRET: &str = "a secret of the tests, with more than 32 bytes";

/// Products of which readers see the name, and clerks all, and these lines in `[jwt]`.
fn config(jwt: &str) -> String {
    let sha256 = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        r#"
role = [{{ name = "reader" }}, {{ name = "clerk", admin = true }}]
key = [{{ name = "the till", role = "clerk", sha256 = "{sha256}" }}]

[jwt]
issuer = "{ISSUER}"
audience = ["other", "{AUDIENCE}"]
{jwt}

[[collection]]
name = "products"
id = "int"
field = [{{ path = "name", type = "string" }}, {{ path = "cost", type = "int" }}]
grant = [
    {{ role = "clerk", verbs = ["read", "replace"] }},
    {{ role = "reader", verbs = ["read"], read = ["name"] }},
]
"#
    )
}

/// A shop with a teapot.
async fn shop(jwt: &str) -> Larder {
    let larder = Larder::start(&config(jwt)).await;
    stock(&larder).await;
    larder
}

async fn stock(larder: &Larder) {
    let headers = [("x-api-key", KEY), ("content-type", "application/json")];
    let put = larder.client().send("PUT", "/v1/products/1", &headers, r#"{"name":"Teapot","cost":5}"#).await;
    assert_eq!(put.status, 201, "{put:?}");
}

fn at(issuer: &Issuer, algorithms: &str) -> String {
    format!("jwks_url = \"{}\"\nalgorithms = {algorithms}\n", issuer.url())
}

async fn get(larder: &Larder, token: &str) -> Answer {
    larder.get_with("/v1/products/1", &[("authorization", &format!("Bearer {token}"))]).await
}

/// That a token is refused, and for what.
#[track_caller]
fn assert_refused(answer: &Answer, description: &str) {
    assert_problem(answer, 401, None);
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let expected =
        format!("Bearer realm=\"larder\", error=\"invalid_token\", error_description=\"{description}");
    assert!(challenge.starts_with(&expected), "{challenge} does not begin with {expected}");
    assert_eq!(answer.json()["type"], "urn:larder:problem:invalid-token");
}

#[tokio::test]
async fn a_token_of_each_algorithm_lets_in() {
    let signers = [
        (Signer::rsa(), vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (Signer::p256(), vec!["ES256"]),
        (Signer::p384(), vec!["ES384"]),
        (Signer::ed25519(), vec!["EdDSA"]),
    ];
    let keys: Vec<Value> = signers.iter().map(|(signer, names)| signer.jwk(names[0])).collect();
    let issuer = Issuer::start(&keys).await;
    let all: Vec<&str> = signers.iter().flat_map(|(_, names)| names.clone()).collect();
    let larder = shop(&at(&issuer, &format!("{all:?}"))).await;
    for (signer, names) in &signers {
        for name in names {
            let token = signer.token(&json!({ "alg": name, "kid": names[0] }), &claims(&json!({})));
            let answer = get(&larder, &token).await;
            assert_eq!((answer.status, answer.text()), (200, r#"{"_id":1,"name":"Teapot"}"#), "{name}");
            let place = token.len() - 8..token.len() - 7;
            let flipped = if &token[place.clone()] == "A" { "B" } else { "A" };
            let mut other = token;
            other.replace_range(place, flipped);
            assert_refused(&get(&larder, &other).await, "the signature of the token is wrong");
        }
    }
    let hmac = shop(&format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\", \"HS384\", \"HS512\"]")).await;
    for name in ["HS256", "HS384", "HS512"] {
        let token = |secret| Signer::secret(secret).token(&json!({ "alg": name }), &claims(&json!({})));
        assert_eq!(get(&hmac, &token(SECRET.as_bytes())).await.status, 200, "{name}");
        assert_refused(&get(&hmac, &token(b"another secret")).await, "the signature of the token is wrong");
    }
}

#[tokio::test]
async fn a_key_may_stand_in_a_file() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    for (name, signer) in [("RS256", Signer::rsa()), ("ES256", Signer::p256()), ("EdDSA", Signer::ed25519())]
    {
        let (pem, set) =
            (folder.path().join(format!("{name}.pem")), folder.path().join(format!("{name}.json")));
        fs::write(&pem, signer.pem()).expect("the folder can be written to");
        fs::write(&set, json!({ "keys": [signer.jwk("a")] }).to_string())
            .expect("the folder can be written to");
        for source in [format!("public_key_file = {pem:?}"), format!("jwks_file = {set:?}")] {
            let larder = shop(&format!("{source}\nalgorithms = [\"{name}\"]")).await;
            for head in [json!({ "alg": name }), json!({ "alg": name, "kid": "a" })] {
                let answer = get(&larder, &signer.token(&head, &claims(&json!({})))).await;
                assert_eq!(answer.status, 200, "{source} {head}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told_and_nothing_of_it_repeated() {
    let (rsa, other) = (Signer::rsa(), Signer::p256());
    let issuer = Issuer::start(&[rsa.jwk("a"), other.jwk("b"), other.jwk("c")]).await;
    let larder = shop(&at(&issuer, "[\"RS256\", \"ES256\"]")).await;
    let head = json!({ "alg": "RS256", "kid": "a" });
    let with = |changes: Value| rsa.token(&head, &claims(&changes));
    let headed = |head: Value| rsa.token(&head, &claims(&json!({})));
    let good = with(json!({}));
    let (message, _) = good.rsplit_once('.').expect("three parts");
    let unsigned =
        format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims(&json!({})).to_string()));
    let confused = |secret: Vec<u8>| {
        Signer::secret(&secret).token(&json!({ "alg": "HS256", "kid": "a" }), &claims(&json!({})))
    };
    let own_key = json!({ "alg": "ES256", "kid": "b", "jwk": Signer::p256().jwk("b"), "jku": issuer.url() });
    let broken = "the token cannot be read, or names an algorithm that is not known";
    let incomplete = "the token must have exp, iss and aud, and dates as numbers";
    let signature = "the signature of the token is wrong";
    for (token, description) in [
        (unsigned, broken),
        (confused(rsa.public()), "the algorithm of the token is not accepted here"),
        (confused(rsa.pem().into_bytes()), "the algorithm of the token is not accepted here"),
        (headed(json!({ "alg": "RS384", "kid": "a" })), "the algorithm of the token is not accepted here"),
        (headed(json!({ "alg": "RS256", "kid": "a", "crit": ["exp"] })), "the token demands an extension"),
        (Signer::p256().token(&own_key, &claims(&json!({}))), signature),
        (format!("{message}.{}", base64url([0; 256])), signature),
        (format!("{message}."), signature),
        (with(json!({ "iss": "https://evil.example/" })), "the token is of another issuer"),
        (with(json!({ "iss": [ISSUER, "https://evil.example/"] })), "the token is of another issuer"),
        (with(json!({ "aud": "https://bank.example/" })), "the token is for another audience"),
        (with(json!({ "aud": [] })), "the token is for another audience"),
        (with(json!({ "exp": in_seconds(-40) })), "the token has expired"),
        (with(json!({ "nbf": in_seconds(60) })), "the token is not valid yet"),
        (with(json!({ "exp": null })), incomplete),
        (with(json!({ "exp": "tomorrow" })), incomplete),
        (with(json!({ "iss": null })), incomplete),
        (with(json!({ "aud": null })), incomplete),
        (with(json!({ "filler": "x".repeat(8 << 10) })), "the token is longer than 8 KiB"),
        ("a.b.c".to_owned(), broken),
        ("e30.e30.e30".to_owned(), broken),
        (rsa.token(&head, &json!("no object")), broken),
        (other.token(&json!({ "alg": "ES256" }), &claims(&json!({}))), "the token must name its key (kid)"),
    ] {
        let answer = get(&larder, &token).await;
        assert_refused(&answer, description);
        let said = format!("{answer:?} {}", larder.output());
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!said.contains(part), "{part} is repeated in {said}");
        }
        assert!(!said.contains("ann@"), "a claim is repeated in {said}");
    }
    assert_eq!(get(&larder, &good).await.status, 200);
    assert_eq!(issuer.requests(), 1, "none of them names a key that is not known");
    for (reason, count) in [("signature", 3), ("algorithm", 3), ("expired", 1), ("malformed", 4), ("role", 0)]
    {
        let name = format!("larder_tokens_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(figure(&larder, &name).await, count, "{reason}");
    }
}

#[tokio::test]
async fn clocks_may_be_apart_by_the_leeway() {
    let secret = Signer::secret(SECRET.as_bytes());
    let larder = shop(&format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nleeway = \"2m\"")).await;
    for (changes, status) in [
        (json!({ "exp": in_seconds(-90) }), 200),
        (json!({ "nbf": in_seconds(90) }), 200),
        (json!({ "exp": in_seconds(600) as f64 + 0.5 }), 200),
        (json!({ "exp": in_seconds(-130) }), 401),
        (json!({ "nbf": in_seconds(150) }), 401),
    ] {
        let answer = get(&larder, &secret.token(&json!({ "alg": "HS256" }), &claims(&changes))).await;
        assert_eq!(answer.status, status, "{changes}: {answer:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_known_is_not_verified_again_and_ends_all_the_same() {
    let secret = Signer::secret(SECRET.as_bytes());
    let larder = shop(&format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\nleeway = \"0s\"")).await;
    let token = secret.token(&json!({ "alg": "HS256" }), &claims(&json!({ "exp": in_seconds(3) })));
    for _ in 0..3 {
        assert_eq!(get(&larder, &token).await.status, 200);
    }
    assert_eq!(figure(&larder, "larder_tokens_verified_total").await, 1);
    eventually("the token ends", PATIENCE, || async { get(&larder, &token).await.status == 401 }).await;
    assert_refused(&get(&larder, &token).await, "the token has expired");
}

async fn figure(larder: &Larder, name: &str) -> u64 {
    let page = larder.get_with("/metrics", &[("x-api-key", KEY)]).await;
    let line = page.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name}: {page:?}"))
}

#[tokio::test]
async fn the_first_declared_role_of_a_token_counts() {
    let secret = Signer::secret(SECRET.as_bytes());
    let keys = format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]\n");
    let plain = shop(&keys).await;
    let nested = shop(&format!("{keys}role_claim = \"realm.roles\"\ndefault_role = \"reader\"")).await;
    let whole = r#"{"_id":1,"name":"Teapot","cost":5}"#;
    for (larder, changes, status, body) in [
        (&plain, json!({ "role": ["admin", "clerk", "reader"] }), 200, whole),
        (&plain, json!({ "role": ["reader", "clerk"] }), 200, r#"{"_id":1,"name":"Teapot"}"#),
        (&plain, json!({ "role": "admin" }), 403, ""),
        (&plain, json!({ "role": null }), 403, ""),
        (&plain, json!({ "role": "anonymous" }), 403, ""),
        (&nested, json!({ "realm": { "roles": ["clerk"] } }), 200, whole),
        (&nested, json!({ "role": "clerk" }), 200, r#"{"_id":1,"name":"Teapot"}"#),
        (&nested, json!({ "realm": { "roles": ["root"] } }), 403, ""),
    ] {
        let answer = get(larder, &secret.token(&json!({ "alg": "HS256" }), &claims(&changes))).await;
        assert_eq!(answer.status, status, "{changes}: {answer:?}");
        assert!(body.is_empty() || answer.text() == body, "{changes}: {answer:?}");
    }
}

#[tokio::test]
async fn the_role_of_one_token_never_serves_another() {
    let secret = Signer::secret(SECRET.as_bytes());
    let larder = shop(&format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]")).await;
    let tokens: Vec<(String, bool)> = (0..40)
        .map(|number| {
            let is_clerk = number % 3 == 0;
            let role = if is_clerk { "clerk" } else { "reader" };
            let claims = claims(&json!({ "sub": format!("user {number}"), "role": role }));
            (secret.token(&json!({ "alg": "HS256" }), &claims), is_clerk)
        })
        .collect();
    for _ in 0..3 {
        let answers = join_all(tokens.iter().map(|(token, _)| get(&larder, token))).await;
        for (answer, (_, is_clerk)) in answers.iter().zip(&tokens) {
            assert_eq!((answer.status, answer.text().contains("cost")), (200, *is_clerk), "{answer:?}");
        }
    }
    assert_eq!(figure(&larder, "larder_tokens_verified_total").await, 40);
}

#[tokio::test]
async fn a_new_key_is_found_and_strangers_do_not_have_the_issuer_asked_for_each_token() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let issuer = Issuer::start(&[old.jwk("old")]).await;
    let larder = shop(&at(&issuer, "[\"ES256\"]")).await;
    let token =
        |signer: &Signer, id: &str| signer.token(&json!({ "alg": "ES256", "kid": id }), &claims(&json!({})));
    issuer.publish(&[old.jwk("old"), new.jwk("new")]);
    let first = get(&larder, &token(&new, "new")).await;
    assert_problem(&first, 503, None);
    assert_eq!(first.header("retry-after"), Some("1"));
    eventually("the new key is there", PATIENCE, || async {
        get(&larder, &token(&new, "new")).await.status == 200
    })
    .await;
    assert_eq!(get(&larder, &token(&old, "old")).await.status, 200);
    for number in 0..20 {
        let stranger = get(&larder, &token(&new, &format!("unknown {number}"))).await;
        assert_refused(&stranger, "the issuer has no such key for the token");
    }
    assert_eq!(issuer.requests(), 2, "at start, and for the new key");
}

#[tokio::test]
async fn a_server_starts_without_its_issuer_and_goes_on_without_it() {
    let signer = Signer::ed25519();
    let issuer = Issuer::start(&[]).await;
    issuer.answer(500, "no".to_owned());
    let larder = shop(&format!("{}jwks_refresh = \"1s\"", at(&issuer, "[\"EdDSA\"]"))).await;
    let token = signer.token(&json!({ "alg": "EdDSA", "kid": "a" }), &claims(&json!({})));
    let refused = get(&larder, &token).await;
    assert_problem(&refused, 503, None);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let ready = larder.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["tokens"]["up"].as_bool()), (503, Some(false)), "{ready:?}");
    assert_eq!(larder.get_with("/v1/products/1", &[("x-api-key", KEY)]).await.status, 200);

    issuer.publish(&[signer.jwk("a")]);
    eventually("the keys are there", PATIENCE, || async { get(&larder, &token).await.status == 200 }).await;
    assert_eq!(larder.get("/readyz").await.status, 200);

    let large = json!({ "keys": [signer.jwk("a")], "filler": "x".repeat(257 << 10) }).to_string();
    let many = json!({ "keys": vec![signer.jwk("a"); 65] }).to_string();
    for (status, body) in [(500, "no".to_owned()), (200, "no JSON".to_owned()), (200, large), (200, many)] {
        issuer.answer(status, body);
        let failures = figure(&larder, "larder_token_key_fetch_failures_total").await;
        eventually("fetching fails", PATIENCE, || async {
            figure(&larder, "larder_token_key_fetch_failures_total").await > failures + 1
        })
        .await;
        let other =
            signer.token(&json!({ "alg": "EdDSA", "kid": "a" }), &claims(&json!({ "jti": failures })));
        assert_eq!([get(&larder, &token).await.status, get(&larder, &other).await.status], [200, 200]);
        issuer.publish(&[signer.jwk("a")]);
        let fetched = issuer.requests();
        eventually("fetching goes well", PATIENCE, || async { issuer.requests() > fetched + 1 }).await;
    }
    assert_eq!(larder.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_says_nothing_does_not_keep_a_server_from_starting() {
    // Connections are made, and nobody takes them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/keys", silent.local_addr().expect("it is bound"));
    let larder = shop(&format!("jwks_url = \"{url}\"\nalgorithms = [\"EdDSA\"]")).await;
    let token = Signer::ed25519().token(&json!({ "alg": "EdDSA" }), &claims(&json!({})));
    assert_problem(&get(&larder, &token).await, 503, None);
    assert!(larder.output().contains("no whole answer within 5 s"), "{}", larder.output());
}

#[tokio::test]
async fn a_redirect_of_the_issuer_is_not_followed() {
    let signer = Signer::ed25519();
    let elsewhere = Issuer::start(&[signer.jwk("a")]).await;
    let issuer = Issuer::start(&[]).await;
    issuer.redirect(elsewhere.url());
    let larder = shop(&at(&issuer, "[\"EdDSA\"]")).await;
    let token = signer.token(&json!({ "alg": "EdDSA", "kid": "a" }), &claims(&json!({})));
    assert_eq!(get(&larder, &token).await.status, 503);
    assert_eq!((issuer.requests() > 0, elsewhere.requests()), (true, 0));
    assert!(larder.output().contains("it answers 302"), "{}", larder.output());
}

#[tokio::test]
async fn a_key_that_the_issuer_has_no_more_lets_nobody_in() {
    let (gone, stays) = (Signer::p256(), Signer::p256());
    let issuer = Issuer::start(&[gone.jwk("gone"), stays.jwk("stays")]).await;
    let larder = shop(&format!("{}jwks_refresh = \"1s\"", at(&issuer, "[\"ES256\"]"))).await;
    let token =
        |signer: &Signer, id: &str| signer.token(&json!({ "alg": "ES256", "kid": id }), &claims(&json!({})));
    let (old, current) = (token(&gone, "gone"), token(&stays, "stays"));
    assert_eq!([get(&larder, &old).await.status, get(&larder, &current).await.status], [200, 200]);
    // The name stays, the key is another one.
    issuer.publish(&[Signer::p256().jwk("gone"), stays.jwk("stays")]);
    eventually("the old key is gone", PATIENCE, || async { get(&larder, &old).await.status == 401 }).await;
    assert_refused(&get(&larder, &old).await, "the signature of the token is wrong");
    let verified = figure(&larder, "larder_tokens_verified_total").await;
    assert_eq!(get(&larder, &current).await.status, 200);
    assert_eq!(figure(&larder, "larder_tokens_verified_total").await, verified, "its key has not changed");
    issuer.publish(&[]);
    eventually("no key is left", PATIENCE, || async { get(&larder, &current).await.status != 200 }).await;
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_the_issuer_that_is_trusted_and_from_no_other() {
    let (authority, other) = (Authority::new("Tokens"), Authority::new("Somebody else"));
    let signer = Signer::p384();
    let issuer = Issuer::start_tls(&authority.issue(), &[signer.jwk("a")]).await;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let token = signer.token(&json!({ "alg": "ES384", "kid": "a" }), &claims(&json!({})));
    for (name, pem, status) in [("own.pem", authority.pem(), 200), ("other.pem", other.pem(), 503)] {
        let path = folder.path().join(name);
        fs::write(&path, pem).expect("the folder can be written to");
        let larder = shop(&format!("{}ca_file = {path:?}", at(&issuer, "[\"ES384\"]"))).await;
        assert_eq!(get(&larder, &token).await.status, status, "{name}: {}", larder.output());
    }
}

#[tokio::test]
async fn what_has_no_shape_of_a_token_is_a_key() {
    let larder = shop(&format!("secret = \"{SECRET}\"\nalgorithms = [\"HS256\"]")).await;
    let token = Signer::secret(SECRET.as_bytes()).token(&json!({ "alg": "HS256" }), &claims(&json!({})));
    assert_eq!(larder.get_with("/v1/products/1", &[("x-api-key", &token)]).await.status, 401);
    assert_eq!(get(&larder, KEY).await.status, 200);
    for wrong in ["wrong", "a.b", "a.b.c.d", ".b.c", "a.b!.c"] {
        let answer = get(&larder, wrong).await;
        assert_eq!(answer.json()["detail"], "this key is not known", "{wrong}: {answer:?}");
    }
    let described =
        larder.get_with("/openapi.json", &[("authorization", &format!("Bearer {token}"))]).await.json();
    assert_eq!(described["components"]["securitySchemes"]["bearer"]["bearerFormat"], "JWT");
}

#[tokio::test]
async fn the_check_says_which_keys_there_are() {
    let (rsa, curve) = (Signer::rsa(), Signer::p256());
    let mut encrypts = rsa.jwk("c");
    encrypts["use"] = "enc".into();
    let issuer =
        Issuer::start(&[rsa.jwk("a"), curve.jwk("b"), encrypts, Signer::secret(b"oct").jwk("d")]).await;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = folder.path().join("larder.toml");
    let check = async |jwt: String| {
        fs::write(&path, config(&jwt)).expect("the folder can be written to");
        let (path, data) = (path.clone(), folder.path().join("data"));
        let output = tokio::task::spawn_blocking(move || {
            run(&["check", "--config", &path.to_string_lossy(), "--data", &data.to_string_lossy()], &[])
        });
        let output = output.await.expect("it does not panic");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (_, good) = check(at(&issuer, "[\"RS256\", \"ES256\", \"EdDSA\"]")).await;
    assert!(good.contains("2 keys for RS256, ES256; none for EdDSA"), "{good}");
    assert!(good.contains("2 more keys are of no use here"), "{good}");
    issuer.answer(503, String::new());
    let (code, away) = check(at(&issuer, "[\"RS256\"]")).await;
    assert_eq!(code, Some(1), "{away}");
    assert!(away.contains("it answers 503"), "{away}");
    let absent = folder.path().join("absent.pem");
    let (code, missing) = check(format!("public_key_file = {absent:?}\nalgorithms = [\"RS256\"]")).await;
    assert_eq!(code, Some(2), "{missing}");
    fs::write(&absent, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----")
        .expect("it can be written");
    let (code, private) = check(format!("public_key_file = {absent:?}\nalgorithms = [\"RS256\"]")).await;
    assert!(code == Some(2) && private.contains("it holds no public key"), "{private}");
}
