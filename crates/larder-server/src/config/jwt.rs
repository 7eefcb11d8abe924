//! `[jwt]`: whose tokens let in, and which role their bearers have.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use hyper::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use crate::config::{
    ANONYMOUS, Secret,
    access::Auth,
    problem::find_nearest,
    reader::Reader,
    setting::{Setting, not_one_of},
};

/// A shorter secret can be guessed from a single token.
const LEAST_SECRET_BYTES: usize = 32;
const MAX_LEEWAY: Duration = Duration::from_secs(5 * 60);
const REFRESH_RANGE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 3_600)];

/// `[jwt]`. Without a key no token is read.
#[derive(Clone, Debug)]
pub(crate) struct JwtSettings {
    /// Where the issuer publishes its keys.
    pub jwks_url: Option<String>,
    /// The same set in a file.
    pub jwks_file: Option<PathBuf>,
    /// One public key, PEM.
    pub public_key_file: Option<PathBuf>,
    /// What HMAC tokens are signed with.
    pub secret: Option<Secret>,
    /// The authority that signs the issuer's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// The only algorithms that are accepted.
    pub algorithms: Option<Vec<Algorithm>>,
    /// The `iss` that a token must have.
    pub issuer: Option<String>,
    /// Of these a token's `aud` must name one.
    pub audience: Option<Vec<String>>,
    /// How far the clocks of issuer and server may be apart.
    pub leeway: Duration,
    /// The claim that names the role; a path with dots leads into objects.
    pub role_claim: String,
    /// The role of tokens that name none.
    pub default_role: Option<String>,
    /// How often the set of keys is fetched anew.
    pub jwks_refresh: Duration,
}

impl JwtSettings {
    /// Whether tokens are read at all.
    pub(crate) fn is_used(&self) -> bool {
        self.sources().into_iter().any(|(_, is_given)| is_given)
    }

    fn sources(&self) -> [(&'static str, bool); 4] {
        [
            ("jwks_url", self.jwks_url.is_some()),
            ("jwks_file", self.jwks_file.is_some()),
            ("public_key_file", self.public_key_file.is_some()),
            ("secret", self.secret.is_some()),
        ]
    }
}

impl Setting for Algorithm {
    fn from_text(text: &str) -> Result<Self, String> {
        const NAMES: [&str; 12] = [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256",
            "HS384", "HS512",
        ];
        text.parse().map_err(|_| not_one_of(text, &NAMES))
    }
}

pub(super) fn read(mut table: Reader<'_>, auth: &Auth) -> JwtSettings {
    let jwt = JwtSettings {
        jwks_url: table.find("jwks_url"),
        jwks_file: table.find("jwks_file"),
        public_key_file: table.find("public_key_file"),
        secret: table.find("secret"),
        ca_file: table.find("ca_file"),
        algorithms: table.find("algorithms"),
        issuer: table.find("issuer"),
        audience: table.find("audience"),
        leeway: table.get("leeway", Duration::from_secs(30)),
        role_claim: table.get("role_claim", "role".to_owned()),
        default_role: table.find("default_role"),
        jwks_refresh: table.get("jwks_refresh", Duration::from_secs(5 * 60)),
    };
    check_source(&jwt, &table);
    check_algorithms(&jwt, &table);
    check_meaning(&jwt, &table);
    check_role(&jwt, auth, &table);
    if auth.open && jwt.is_used() {
        table.report("issuer", "tokens mean nothing while everyone may do everything; remove one of the two");
    }
    table.finish();
    jwt
}

fn check_source(jwt: &JwtSettings, table: &Reader<'_>) {
    let given: Vec<&str> =
        jwt.sources().into_iter().filter_map(|(key, is_given)| is_given.then_some(key)).collect();
    if let [first, second, ..] = given[..] {
        table.report(second, format!("{first} is given already: the keys come from one place"));
    }
    if let Some(url) = &jwt.jwks_url
        && let Some(message) = find_wrong_url(url)
    {
        table.report("jwks_url", message);
    }
    let is_https = jwt.jwks_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    if jwt.ca_file.is_some() && !is_https {
        table.report("ca_file", "means nothing without a jwks_url that begins with https://");
    }
    if jwt.secret.as_ref().is_some_and(|secret| secret.reveal().len() < LEAST_SECRET_BYTES) {
        table.report("secret", format!("must be at least {LEAST_SECRET_BYTES} bytes"));
    }
}

/// Whoever can change what is read here lets in anybody, so it must not be read over an open network.
fn find_wrong_url(url: &str) -> Option<&'static str> {
    let Ok(uri) = url.parse::<Uri>() else { return Some("is not a URL") };
    let Some(authority) = uri.authority() else {
        return Some("must be a whole URL, such as https://host/path");
    };
    if authority.as_str().contains('@') {
        return Some("must have no user and no password");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => None,
        Some("http") if is_loopback => None,
        _ => Some("must begin with https:// (http:// only for a loopback address)"),
    }
}

/// A public key is known to everybody: taken for the secret of an HMAC it would let anybody sign.
fn check_algorithms(jwt: &JwtSettings, table: &Reader<'_>) {
    let algorithms = jwt.algorithms.as_deref().unwrap_or_default();
    if !jwt.is_used() {
        return;
    }
    if algorithms.is_empty() {
        table.report("algorithms", "is missing: name those that the issuer signs with, such as [\"RS256\"]");
    }
    for algorithm in algorithms {
        let is_hmac = algorithm.family() == AlgorithmFamily::Hmac;
        if is_hmac != jwt.secret.is_some() {
            let what = if is_hmac { "goes with secret only" } else { "goes with public keys only" };
            table.report("algorithms", format!("\"{algorithm:?}\" {what}"));
        }
    }
    if jwt.public_key_file.is_some() && algorithms.windows(2).any(|pair| pair[0].family() != pair[1].family())
    {
        table.report("algorithms", "one public key is of one kind; these need keys of several kinds");
    }
}

/// What makes a token one for this server.
fn check_meaning(jwt: &JwtSettings, table: &Reader<'_>) {
    if jwt.is_used() {
        if jwt.issuer.as_ref().is_none_or(String::is_empty) {
            table.report("issuer", "is missing: it is the iss of the tokens that are meant");
        }
        if jwt.audience.as_ref().is_none_or(|names| names.is_empty() || names.iter().any(String::is_empty)) {
            table.report("audience", "is missing: without it tokens for other services would let in here");
        }
    } else {
        let sources = jwt.sources().map(|(key, _)| key).join(", ");
        for (key, is_given) in [
            ("issuer", jwt.issuer.is_some()),
            ("audience", jwt.audience.is_some()),
            ("algorithms", jwt.algorithms.is_some()),
            ("default_role", jwt.default_role.is_some()),
        ] {
            if is_given {
                table.report(key, format!("means nothing without a key; set one of {sources}"));
            }
        }
    }
    if jwt.leeway > MAX_LEEWAY {
        table.report("leeway", "must be at most 5m");
    }
    let [least, most] = REFRESH_RANGE;
    if !(least..=most).contains(&jwt.jwks_refresh) {
        table.report("jwks_refresh", "must be between 1s and 1d");
    }
}

fn check_role(jwt: &JwtSettings, auth: &Auth, table: &Reader<'_>) {
    if jwt.role_claim.split('.').any(str::is_empty) {
        table.report("role_claim", "must be the name of a claim, or names with single dots between");
    }
    let Some(role) = &jwt.default_role else { return };
    if role == ANONYMOUS {
        table.report("default_role", "a token says who sends it, so its role cannot be that of nobody");
    } else if auth.roles.iter().all(|known| known.name != *role) {
        let names = auth.roles.iter().map(|known| known.name.as_str());
        let hint = find_nearest(role, names).map(|nearest| format!("; did you mean \"{nearest}\"?"));
        table
            .report("default_role", format!("\"{role}\" is not a declared role{}", hint.unwrap_or_default()));
    }
}
