//! Stopping.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Larder, items, larder::PATIENCE};

#[tokio::test]
async fn a_running_request_ends_before_the_server_does() {
    for signal in ["TERM", "INT"] {
        let larder = items().await;
        let address = larder.url().trim_start_matches("http://").to_owned();
        let body = r#"{"_id":1,"name":"a"}"#;
        let mut stream = TcpStream::connect(&address).await.expect("the server listens");
        let head = format!(
            "POST /v1/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        larder_testkit::eventually("the request is at work", PATIENCE, || async {
            larder.get("/v1/_stats").await.json()["totals"]["in_flight"] == 2
        })
        .await;
        larder.signal(signal);
        larder_testkit::eventually("nobody is let in any more", PATIENCE, || async {
            TcpStream::connect(&address).await.is_err()
        })
        .await;
        stream.write_all(body.as_bytes()).await.expect("the server still reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the server answers and closes");
        assert!(answer.starts_with("HTTP/1.1 201"), "{signal}: {answer}");
        assert_eq!(larder.exit_code().await, 0, "{}", larder.output());
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_keep_the_server() {
    let config = format!("{}\n[limits]\ndrain = \"100ms\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    let address = larder.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("the server listens");
    let half = "POST /v1/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(half.as_bytes()).await.expect("the server reads");
    larder_testkit::eventually("the request is at work", PATIENCE, || async {
        larder.get("/v1/_stats").await.json()["totals"]["in_flight"] == 2
    })
    .await;
    let begun = std::time::Instant::now();
    larder.signal("TERM");
    assert_eq!(larder.exit_code().await, 1, "{}", larder.output());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let larder = items().await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    let folder = larder.stop().await;
    let config = folder.path().join("larder.toml");
    let config = config.to_str().expect("UTF-8").to_owned();
    let larder = Larder::start_in(folder, &["--config", &config]).await;
    assert_eq!(larder.get("/v1/items/1").await.json()["name"], "a");
}

#[tokio::test]
async fn a_connection_that_brings_nothing_is_closed_and_one_that_works_is_not() {
    let config = format!("{}\n[limits]\nidle_timeout = \"100ms\"", crate::ITEMS);
    let larder = Larder::start(&config).await;
    let address = larder.url().trim_start_matches("http://").to_owned();
    let mut silent = TcpStream::connect(&address).await.expect("the server listens");
    let mut slow = TcpStream::connect(&address).await.expect("the server listens");
    slow.write_all(b"GET /v1/items/1 HTTP/1.1\r\nhost:").await.expect("the server reads");
    let mut busy = TcpStream::connect(&address).await.expect("the server listens");
    let half = "POST /v1/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{";
    busy.write_all(half.as_bytes()).await.expect("the server reads");
    for stream in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok() && answer.is_empty(), "{closed:?}");
    }
    busy.write_all(br#""_id":1,"name":"a"}"#).await.expect("the server still reads");
    let mut answer = [0; 12];
    busy.read_exact(&mut answer).await.expect("the server answers");
    assert_eq!(&answer, b"HTTP/1.1 201");
}
