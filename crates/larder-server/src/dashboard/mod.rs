//! The first page: what the cache does right now, and a box to try it. Plain files inside the binary, no build step.

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    routing::get,
};

/// The page takes nothing from anywhere else and runs nothing inline, so an injected script has no way to run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, type and text of every file of the page.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("index.html")),
    ("/_dashboard/dashboard.css", CSS, include_str!("dashboard.css")),
    ("/_dashboard/dashboard.js", SCRIPT, include_str!("dashboard.js")),
    ("/_dashboard/chart.js", SCRIPT, include_str!("chart.js")),
    ("/_dashboard/format.js", SCRIPT, include_str!("format.js")),
    ("/_dashboard/key.js", SCRIPT, include_str!("key.js")),
    ("/_dashboard/try-it.js", SCRIPT, include_str!("try-it.js")),
    ("/_dashboard/icon.svg", SVG, include_str!("icon.svg")),
];

/// The routes of the page: `/` and the files it takes. They hold no data, so they need no key; the figures come from
/// `/v1/_stats`, which does.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, content_type, text)| {
        router.route(path, get(move || async move { (headers(content_type), text) }))
    })
}

fn headers(content_type: &'static str) -> HeaderMap {
    let pairs: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new binary may bring new files under the same names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    pairs.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_takes_is_there() {
        for (path, _, text) in FILES {
            for quoted in text.split('"').filter(|part| part.starts_with("/_dashboard/") || part.starts_with("./")) {
                let wanted = quoted.replace("./", "/_dashboard/");
                assert!(FILES.iter().any(|(known, ..)| *known == wanted), "{path} takes {quoted}");
            }
        }
    }

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_runs_nothing_inline() {
        for (path, _, text) in FILES {
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains("http://") && !own.contains("https://") && !own.contains("//cdn"), "{path}");
        }
        let page = FILES[0].2;
        assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("<style"));
    }
}
