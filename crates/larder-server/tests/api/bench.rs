//! `larder bench` against a running server.

use std::fs;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    items,
    larder::{Larder, run},
};

async fn filled() -> Larder {
    let server = items().await;
    let documents: Vec<String> =
        (1..=200).map(|id| format!(r#"{{"_id":{id},"name":"item {id}","stock":1}}"#)).collect();
    let answer = server.post("/v1/items/bulk", &format!("[{}]", documents.join(","))).await;
    assert!(answer.status < 300, "{answer:?}");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_load_with_the_cache_and_past_it_is_compared_and_drawn() {
    let server = filled().await;
    let folder = TempDir::new().expect("a temporary folder");
    let plot = folder.path().join("plot.svg");
    let arguments =
        ["--collection", "items", "--write-field", "stock", "--seconds", "1", "--connections", "4"];
    let place = ["--plot", plot.to_str().expect("UTF-8"), "--url", server.url()];
    let output = run(&[&["bench"], &arguments[..], &place[..]].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("200 documents of items, Zipf 1, 2 % lists, 2 % writes, 4 connections"), "{said}");
    assert!(said.contains("took its share of the processors"), "{said}");

    let csv = fs::read_to_string(folder.path().join("plot.csv")).expect("raw data are written");
    let value = |name: &str| -> u64 {
        let line = csv.lines().find_map(|line| line.strip_prefix(&format!("{name},")));
        line.unwrap_or_else(|| panic!("{name}: {csv}")).parse().expect("a number")
    };
    let (cached, bypassed) = (value("cached,all,source_reads"), value("bypassed,all,source_reads"));
    assert_eq!(bypassed, value("bypassed,read,requests"), "past the cache every read is a source read");
    assert!(cached < value("cached,read,requests") / 2, "{cached} source reads: {csv}");
    assert!(value("cached,write,requests") > 0 && value("cached,list,requests") > 0, "{csv}");
    assert!(!csv.contains("error"), "{csv}");
    let stocks = server.get("/v1/items?stock=ne.1&limit=1").await.json();
    assert_eq!(stocks["items"].as_array().map(Vec::len), Some(0), "the data are as they were: {stocks}");
    let svg = fs::read_to_string(&plot).expect("the plot is written");
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("Latency by percentile"));
}

#[test]
fn a_server_that_is_not_there_is_said_not_to_answer() {
    let output = run(&["bench", "--url", "http://127.0.0.1:1"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not answer"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_past_the_cache_is_refused_before_anything_is_measured() {
    let hash = |key: &str| Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let config = format!(
        r#"
role = [{{ name = "owner", bypass = true }}, {{ name = "reader" }}]
key = [{{ name = "a", role = "owner", sha256 = "{}" }}, {{ name = "b", role = "reader", sha256 = "{}" }}]
[[collection]]
name = "items"
strict = false
id = "int"
grant = [
    {{ role = "owner", verbs = ["read", "list", "create"] }},
    {{ role = "reader", verbs = ["read", "list"] }},
    {{ role = "anonymous", verbs = ["read", "list"] }},
]
"#,
        hash("owner-key"),
        hash("reader-key")
    );
    let server = Larder::start(&config).await;
    let headers = [("x-api-key", "owner-key"), ("content-type", "application/json")];
    assert_eq!(server.client().send("POST", "/v1/items", &headers, r#"{"_id":1}"#).await.status, 201);
    let folder = TempDir::new().expect("a temporary folder");
    let plot = folder.path().join("plot.svg");
    let arguments = ["bench", "--collection", "items", "--seconds", "1", "--connections", "1", "--url"];
    let arguments = [&arguments[..], &[server.url(), "--plot", plot.to_str().expect("UTF-8")]].concat();
    for (key, says) in [
        (&["--key", "reader-key"][..], Some("the role of this key has no `bypass`")),
        (&[], Some("give --key a key whose role has `bypass = true`")),
        (&["--key", "owner-key"], None),
    ] {
        let output = run(&[&arguments, key].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), says.is_none(), "{key:?}: {output:?}");
        assert_eq!(plot.exists(), says.is_none(), "{key:?}: {output:?}");
        assert!(says.is_none_or(|says| said.contains(says)), "{key:?}: {said}");
    }
}
