//! `GET /v1/_top` and `larder top`.

use crate::{Larder, assert_problem, larder::run};

const CONFIG: &str = "auth.open = true\n[[collection]]\nname = \"items\"\nid = \"string\"\nstrict = false\n\
    [[collection]]\nname = \"others\"\nid = \"int\"\nstrict = false\n";

async fn warm() -> Larder {
    let larder = Larder::start(CONFIG).await;
    for (path, times) in [("/v1/items/often", 30), ("/v1/items/a%20b", 3), ("/v1/others/7", 10)] {
        for _ in 0..times {
            larder.get(path).await;
        }
    }
    larder
}

#[tokio::test]
async fn the_documents_that_are_asked_for_most_are_told() {
    let larder = warm().await;
    let top = larder.get("/v1/_top").await.json();
    let told: Vec<_> =
        top["keys"].as_array().unwrap().iter().map(|key| (&key["collection"], &key["key"])).collect();
    assert_eq!(told.len(), 3, "{top}");
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), (Some("items"), Some("often")), "{top}");
    assert!(top["keys"][0]["share"].as_f64().is_some_and(|share| (0.9..0.92).contains(&share)), "{top}");
    assert!(top["keys"][1]["reads_per_s"].as_f64().is_some_and(|rate| rate > 1.0), "{top}");
    let one = larder.get("/v1/_top?limit=1&collection=others").await.json();
    assert_eq!((one["keys"][0]["key"].as_str(), one["keys"].as_array().map(Vec::len)), (Some("7"), Some(1)));
    for (query, status, field) in [
        ("limit=0", 400, Some("limit")),
        ("limit=1001", 400, Some("limit")),
        ("many=1", 400, Some("many")),
        ("collection=itmes", 404, None),
    ] {
        assert_problem(&larder.get(&format!("/v1/_top?{query}")).await, status, field);
    }
    assert_problem(&larder.post("/v1/_top", "").await, 405, None);
}

#[tokio::test]
async fn the_command_shows_them_and_says_when_it_cannot() {
    let larder = warm().await;
    let output = run(&["top", "--url", larder.url()], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.lines().nth(3).is_some_and(|line| line.starts_with("items       often")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("items       a b")), "{said}");
    let json = run(&["top", "--json", "--limit", "1", "--url", larder.url()], &[]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON as the server sent it");
    assert_eq!((json["keys"][0]["key"].as_str(), json["keys"][1].is_null()), (Some("often"), true), "{json}");
    let away = run(&["top", "--url", "http://127.0.0.1:1"], &[]);
    assert_eq!(away.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&away.stderr).contains("is the server running?"), "{away:?}");
}

#[tokio::test]
async fn the_commands_ask_the_server_that_the_configuration_starts_here() {
    let larder = warm().await;
    let file = larder.folder().join("asked.toml");
    let listen = larder.url().trim_start_matches("http://");
    std::fs::write(&file, format!("listen = \"{listen}\"\n{CONFIG}")).expect("the folder can be written to");
    let file = file.to_str().expect("UTF-8");
    for (command, says) in [
        (&["top"][..], "items       often"),
        (&["advise"], "items: 33 reads"),
        (&["explain", "items", "often"], "collection               items"),
    ] {
        for options in [&["--config", file][..], &["--listen", listen]] {
            let output = run(&[command, options].concat(), &[]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains(says), "{output:?}");
        }
        for (url, says) in [
            (listen.to_owned(), format!("--url {listen}: write http://{listen}")),
            (format!("https://{listen}"), "must begin with http://".to_owned()),
        ] {
            let output = run(&[command, &["--url", &url]].concat(), &[]);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(&says), "{output:?}");
        }
    }
}
