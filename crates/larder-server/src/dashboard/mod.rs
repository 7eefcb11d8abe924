//! The first page: what the cache does right now, and a box to try it. Plain files inside the binary, no build step.

/// The headers that go with every file, besides its type.
pub(crate) const HEADERS: [(&str, &str); 4] = [
    // The page takes nothing from anywhere else and runs nothing inline, so an injected script has no way to run.
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    // A new binary may bring new files under the same names.
    ("cache-control", "no-cache"),
];

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
    ("/_dashboard/hot.js", SCRIPT, include_str!("hot.js")),
    ("/_dashboard/key.js", SCRIPT, include_str!("key.js")),
    ("/_dashboard/try-it.js", SCRIPT, include_str!("try-it.js")),
    ("/_dashboard/icon.svg", SVG, include_str!("icon.svg")),
];

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) content_type: &'static str,
    pub(crate) text: &'static str,
}

/// The file at this path. Files hold no data, so they need no key; the figures come from `/v1/_stats`, which does.
pub(crate) fn file(path: &str) -> Option<File> {
    let (_, content_type, text) = FILES.iter().find(|(known, ..)| *known == path)?;
    Some(File { content_type, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_takes_is_there() {
        for (path, _, text) in FILES {
            for quoted in
                text.split('"').filter(|part| part.starts_with("/_dashboard/") || part.starts_with("./"))
            {
                let wanted = quoted.replace("./", "/_dashboard/");
                assert!(FILES.iter().any(|(known, ..)| *known == wanted), "{path} takes {quoted}");
            }
        }
    }

    #[test]
    fn the_first_page_is_at_the_root() {
        assert_eq!(file("/").map(|file| file.content_type), Some(HTML));
        assert!(file("/dashboard.js").is_none());
    }

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_runs_nothing_inline() {
        for (path, _, text) in FILES {
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !own.contains("http://") && !own.contains("https://") && !own.contains("//cdn"),
                "{path}"
            );
        }
        let page = FILES[0].2;
        assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("<style"));
    }
}
