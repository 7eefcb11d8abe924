//! Readers that take an answer slowly, and readers that take nothing.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

use crate::{ITEMS, Larder, larder::PATIENCE};

/// More than the kernel keeps for a reader: its buffers for a connection grow to 4 MiB.
const ANSWER_BYTES: usize = 15_000_000;

/// A server with one large document, number 1.
async fn start(limits: &str) -> Larder {
    let larder = Larder::start(&format!("{ITEMS}\n[limits]\nmax_body_bytes = \"16MiB\"\n{limits}")).await;
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(ANSWER_BYTES));
    assert_eq!(larder.put("/v1/items/1", &body).await.status, 201);
    larder
}

/// Asks for the document over a connection that buffers little, and takes the first bytes of the answer.
async fn begin_to_read(larder: &Larder) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a socket has a buffer");
    let address = larder.url().trim_start_matches("http://").parse().expect("an address");
    let mut stream = socket.connect(address).await.expect("the server listens");
    let request = "GET /v1/items/1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut begin = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut begin)).await.expect("in time").expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn a_slow_reader_gets_the_whole_answer() {
    let larder = start("idle_timeout = \"1s\"").await;
    let mut stream = begin_to_read(&larder).await;
    let begun = std::time::Instant::now();
    // So much at once that the kernel asks for more within each second, and so little that it takes several of them.
    let mut pace = interval(Duration::from_millis(50));
    let mut answer = Vec::new();
    loop {
        pace.tick().await;
        let mut piece = (&mut stream).take(200_000);
        let taken = timeout(PATIENCE, piece.read_to_end(&mut answer)).await.expect("in time");
        if taken.unwrap_or_else(|error| panic!("{error} after {} bytes", answer.len())) == 0 {
            break;
        }
    }
    assert!(answer.ends_with(b"x\"}") && answer.len() > ANSWER_BYTES, "{} bytes", answer.len());
    assert!(begun.elapsed() > Duration::from_secs(3), "it was read too fast to tell anything");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go() {
    let larder = start("idle_timeout = \"200ms\"\nmax_connections = 1").await;
    let mut stream = begin_to_read(&larder).await;
    let next = timeout(PATIENCE, larder.get("/v1/items/2")).await.expect("its place becomes free");
    assert_eq!(next.status, 404);
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection is closed");
    assert!(rest.len() < ANSWER_BYTES, "it was let go in the middle");
}
