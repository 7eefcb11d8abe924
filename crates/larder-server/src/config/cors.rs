//! `[cors]`: which other sites' pages may call from a browser.

use std::time::Duration;

use hyper::Uri;

use crate::config::reader::Reader;

/// Every site.
const ALL: &str = "*";

/// The sites, and how long a browser may remember that they may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CorsSettings {
    /// Each as a browser sends it: scheme, host, and port unless it is the usual one. Empty for none.
    pub origins: Vec<String>,
    pub max_age: Duration,
}

impl CorsSettings {
    /// Whether the pages of every site may call.
    pub(crate) fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == ALL)
    }
}

/// Reads `[cors]`. A server that is open to everyone on its machine must not be open to every page that somebody looks at there.
pub(super) fn read(mut table: Reader<'_>, is_open: bool) -> CorsSettings {
    let cors = CorsSettings {
        origins: table.get("origins", Vec::new()),
        max_age: table.get("max_age", Duration::from_secs(600)),
    };
    if cors.is_for_all() && is_open {
        let message = "\"*\" would let every page that is looked at on this machine read and write, since auth.open lets everyone; \
                       name the origins";
        table.report("origins", message);
    }
    for origin in cors.origins.iter().filter(|origin| *origin != ALL && !is_origin(origin)) {
        let message = format!(
            "\"{origin}\" is not as browsers send it: scheme, host and port alone, in lower case, such as \"https://shop.example\" \
             or \"http://localhost:5173\""
        );
        table.report("origins", message);
    }
    table.finish();
    cors
}

/// Whether a browser could send this: `https://shop.example`, without a path, and without the port that the scheme stands for.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let Some((host, port)) =
        Uri::try_from(text).ok().and_then(|uri| Some((uri.host()?.to_owned(), uri.port_u16())))
    else {
        return false;
    };
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    let is_whole = authority == host || port.is_some_and(|port| authority == format!("{host}:{port}"));
    matches!(scheme, "http" | "https") && host.bytes().all(is_name) && is_whole && !authority.ends_with(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in
            ["https://shop.example", "http://localhost:5173", "http://127.0.0.1:80001x", "http://[::1]:3000"]
        {
            assert_eq!(is_origin(origin), !origin.ends_with('x'), "{origin}");
        }
        for other in [
            "shop.example",
            "https://shop.example/",
            "https://shop.example/app",
            "https://Shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://*.shop.example",
            "https://user@shop.example",
            "https://shop.example:80001",
            "https://shop.example:",
            "https://",
            "ftp://shop.example",
            "null",
            "",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}
