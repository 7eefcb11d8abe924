//! Pages of other sites, in a browser.

use crate::{ITEMS, Larder, client::Answer};

const SHOP: &str = "https://shop.example";
const CORS: &str =
    "[cors]\norigins = [\"https://shop.example\", \"http://localhost:5173\"]\nmax_age = \"5m\"\n";

async fn from(larder: &Larder, origin: &str, method: &str, path: &str) -> Answer {
    larder.client().send(method, path, &[("origin", origin)], "").await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn only_pages_of_declared_sites_are_told_that_they_may_call() {
    let larder = Larder::start(&format!("{ITEMS}\n{CORS}")).await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    // Also what goes wrong: a page is to see that.
    for (path, status) in
        [("/v1/items/1", 200), ("/v1/items", 200), ("/v1/items/2", 404), ("/v1/items?x=1", 400)]
    {
        for origin in [SHOP, "http://localhost:5173"] {
            let answer = from(&larder, origin, "GET", path).await;
            assert_eq!((answer.status, allowed(&answer)), (status, Some(origin)), "{path}");
            assert!(
                answer.header("access-control-expose-headers").is_some_and(|it| it.contains("ETag")),
                "{path}"
            );
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
        }
        for other in ["https://shop.example.evil", "http://shop.example", "https://shop.example:8443", "null"]
        {
            let answer = from(&larder, other, "GET", path).await;
            assert_eq!((answer.status, allowed(&answer)), (status, None), "{other} {path}");
        }
        let plain = larder.get(path).await;
        assert!(allowed(&plain).is_none(), "{path}");
        let mut vary = plain.headers.get_all("vary").iter();
        assert!(vary.any(|it| it == "Origin"), "{path}: what is kept differs by it");
    }
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_may_be_sent() {
    let larder = Larder::start(&format!("{ITEMS}\n{CORS}")).await;
    let ask = async |origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "PATCH")];
        larder.client().send("OPTIONS", "/v1/items/1", &headers, "").await
    };
    let told = ask(SHOP).await;
    assert_eq!((told.status, allowed(&told)), (204, Some(SHOP)));
    assert_eq!(told.header("access-control-max-age"), Some("300"));
    assert!(told.header("access-control-allow-methods").is_some_and(|it| it.contains("PATCH")), "{told:?}");
    for name in ["Authorization", "X-API-Key", "If-Match", "Content-Type"] {
        assert!(told.header("access-control-allow-headers").is_some_and(|it| it.contains(name)), "{name}");
    }
    let refused = ask("https://other.example").await;
    assert!(
        allowed(&refused).is_none() && refused.header("access-control-allow-methods").is_none(),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_declared_sites_no_page_is_told_that_it_may_call() {
    let larder = Larder::start(ITEMS).await;
    for method in ["GET", "OPTIONS"] {
        let answer = from(&larder, SHOP, method, "/v1/items").await;
        let told = answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
        assert!(!told && answer.headers.get_all("vary").iter().all(|it| it != "Origin"), "{answer:?}");
    }
}
