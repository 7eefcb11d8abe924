//! Headers: conditions and preferences, and whom a request is for, what it brings and who sent it.

use std::{collections::BTreeMap, net::IpAddr};

use hyper::{
    HeaderMap, Request, Uri,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    },
    http::uri::Authority,
};
use sha2::{Digest, Sha256};

use crate::{
    auth::Gate,
    config,
    routes::{
        body::MediaType,
        conditional::{self, Tags},
        host, list,
    },
};

fn one(name: HeaderName, value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value.clone())])
}

/// Tags that are understood are understood again when they are written one behind the other, and each matches itself.
pub fn headers(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let _ = list::wanted_count(&one(list::PREFER.clone(), &value));
    let is_star = conditional::must_be_new(&one(IF_NONE_MATCH, &value));
    match conditional::if_match(&one(IF_MATCH, &value)) {
        Ok(Some(Tags::List(tags))) => {
            let joined = HeaderValue::try_from(tags.join(", ")).expect("tags came from a header");
            let again = conditional::if_match(&one(IF_MATCH, &joined));
            assert_eq!(again.ok().flatten(), Some(Tags::List(tags.clone())));
            for tag in &tags {
                assert!(Tags::List(tags.clone()).contains_strong(tag) || tag.starts_with("W/"));
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                assert!(conditional::is_unchanged(&one(IF_NONE_MATCH, &value), opaque), "{tag} in {value:?}");
            }
            assert!(is_star.is_err());
        }
        Ok(Some(Tags::Any)) => {
            assert!(is_star.is_ok_and(|is_star| is_star));
            assert!(conditional::is_unchanged(&one(IF_NONE_MATCH, &value), "\"any\""));
        }
        Ok(None) => panic!("a header that is there was not seen"),
        Err(_) => assert!(is_star.is_err()),
    }
}

/// A request passes as one to this machine only under a name of it: another name with the same end is another one, a port changes
/// nothing, and what the request line says goes before the header.
pub fn host(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let passes = is_to_this_machine("/v1/things", &value);
    // A user has no place in the header, and no browser puts one there.
    if let Ok(authority) = Authority::try_from(data)
        && !data.contains(&b'@')
    {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_own = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        assert!(is_own || !passes, "{authority}");
    }
    let with = |before: &str, after: &str| {
        let bytes = [before.as_bytes(), data, after.as_bytes()].concat();
        HeaderValue::from_bytes(&bytes).expect("letters, dots and digits change no header")
    };
    if !data.contains(&b':') {
        assert_eq!(is_to_this_machine("/v1/things", &with("", ":7300")), passes);
        assert!(!is_to_this_machine("/v1/things", &with("", ".example")) || data.starts_with(b"["));
    }
    assert!(!is_to_this_machine("/v1/things", &with("evil.", "")));
    assert!(!is_to_this_machine("http://evil.example/v1/things", &value));
    assert!(is_to_this_machine("http://localhost:7300/v1/things", &value));
}

fn is_to_this_machine(uri: &'static str, host: &HeaderValue) -> bool {
    let request = Request::get(Uri::from_static(uri)).header(HOST, host).body(()).expect("a request");
    host::require_loopback(&request.into_parts().0).is_ok()
}

/// A media type that is understood is one of those that were asked for, whatever else is, and however it is written.
pub fn content_type(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let all = [MediaType::Json, MediaType::Lines, MediaType::MergePatch];
    let sent = one(CONTENT_TYPE, &value);
    let read = MediaType::of(&sent, &all).ok();
    for accepted in all {
        assert_eq!(MediaType::of(&sent, &[accepted]).ok(), read.filter(|read| *read == accepted));
    }
    let mut encoded = sent;
    encoded.insert(CONTENT_ENCODING, value.clone());
    assert!(MediaType::of(&encoded, &all).is_err());
    if let Some(read) = read {
        for name in [read.name().to_owned(), read.name().to_uppercase()] {
            let plain = HeaderValue::try_from(name).expect("a name is a header");
            assert_eq!(MediaType::of(&one(CONTENT_TYPE, &plain), &all).ok(), Some(read));
        }
    }
}

/// A key that is known lets in, under its own role. Whatever else is sent is not taken for no key, and is refused in one of two ways, neither of
/// which repeats it.
pub fn authorization(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let (bearer, x_api_key) = (AUTHORIZATION, HeaderName::from_static("x-api-key"));
    let key = data.trim_ascii();
    let own = HeaderValue::from_bytes(&[b"bEARER \t", key, b" "].concat()).expect("its key is of a header");
    let (own, plain) = (one(bearer.clone(), &own), one(x_api_key, &value));
    for (gate, headers) in [(gate(key), &own), (gate(data), &plain)] {
        let role = gate.identify(headers).expect("the key is known").role;
        assert_eq!(gate.role_name(role), "reader");
    }
    assert!(gate(data).identify(&one(bearer.clone(), &value)).is_err(), "a key alone is no header");
    let nobody = gate(b"\n is in no header");
    let said = ["Bearer wrong", "Basic wrong"]
        .map(|wrong| refusal_of(&nobody, &one(bearer.clone(), &HeaderValue::from_static(wrong))));
    for headers in [&one(bearer, &value), &own, &plain] {
        assert!(said.contains(&refusal_of(&nobody, headers)));
    }
    let both = own.into_iter().chain(plain).filter_map(|(name, value)| Some((name?, value))).collect();
    assert!(gate(key).identify(&both).is_err());
}

fn refusal_of(gate: &Gate, headers: &HeaderMap) -> String {
    match gate.identify(headers) {
        Ok(sender) => panic!("let in as {}", gate.role_name(sender.role)),
        Err(refusal) => refusal.to_json().to_string(),
    }
}

/// One that knows this key alone.
fn gate(key: &[u8]) -> Gate {
    let sha256: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "role = [{{ name = \"reader\" }}]\n[[key]]\nname = \"own\"\nrole = \"reader\"\nsha256 = \"{sha256}\""
    );
    let config =
        config::parse("fuzzed", &text, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    Gate::new(&config.auth, None)
}
