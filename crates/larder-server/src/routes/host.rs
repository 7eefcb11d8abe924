//! Which names an open server answers to.
//!
//! A page on the web may let its own name point at 127.0.0.1, and its scripts then talk to this server as their own. They
//! cannot hide that name: it stands in `Host`.

use std::net::IpAddr;

use hyper::{StatusCode, header::HOST, http::request::Parts};

use crate::routes::Refusal;

/// Lets only requests pass that were sent to a name of this very machine.
///
/// # Errors
/// 421 for any other name, or none.
pub(crate) fn require_loopback(head: &Parts) -> Result<(), Refusal> {
    let host = match head.uri.host() {
        Some(host) => Some(host),
        None => head.headers.get(HOST).and_then(|host| host.to_str().ok()).map(without_port),
    };
    if host.is_some_and(is_loopback) {
        return Ok(());
    }
    let detail =
        "an open server answers to localhost only; declare keys and roles to serve under another name";
    Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "misdirected-request", detail).with_field("Host"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The last colon of an IPv6 address is inside of its brackets, and what follows it there no number.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback(name: &str) -> bool {
    if name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" {
        return true;
    }
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn check(host: Option<&str>, expected: bool) {
        let mut request = Request::get("/v1/items");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(require_loopback(&head).is_ok(), expected, "{host:?}");
    }

    #[test]
    fn only_names_of_this_machine_pass() {
        for host in ["localhost", "LocalHost:7300", "127.0.0.1:80", "127.1.2.3", "[::1]:7300", "[::1]"] {
            check(Some(host), true);
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7300",
            "[::2]:1",
            "[::1:730],7300",
            "10.0.0.1",
        ] {
            check(Some(host), false);
        }
        check(None, false);
    }
}
