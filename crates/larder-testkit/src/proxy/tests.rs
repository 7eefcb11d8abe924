//! The proxy does what its faults say, no more and no less.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Fault, Moment, Proxy};
use crate::eventually;

const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const NOTHING: Duration = Duration::from_millis(100);

/// A server that sends back what it receives, and a proxy in front of it.
async fn echo() -> (JoinSet<()>, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (tasks, proxy)
}

async fn dial(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

async fn hear(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    timeout(SOON, stream.read_exact(&mut heard)).await.expect("the reply comes").unwrap();
    heard
}

async fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the connection ends");
    rest
}

#[tokio::test]
async fn everything_passes_and_is_counted() {
    let (_server, proxy) = echo().await;
    let mut stream = dial(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(hear(&mut stream, 5).await, b"hello");
    eventually("the bytes are counted", SOON, || async { proxy.bytes() == (5, 5) }).await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn silence_holds_bytes_back_and_gives_them_up_when_it_ends() {
    let (_server, proxy) = echo().await;
    let mut old = dial(&proxy).await;
    old.write_all(b"1").await.unwrap();
    hear(&mut old, 1).await;
    proxy.set(Fault::Silent);
    let mut new = dial(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"2").await.unwrap();
        assert!(timeout(NOTHING, stream.read_u8()).await.is_err());
    }
    proxy.set(Fault::Pass);
    for stream in [&mut old, &mut new] {
        assert_eq!(hear(stream, 1).await, b"2");
    }
}

#[tokio::test]
async fn a_delay_keeps_the_order_and_does_not_add_up() {
    let (_server, proxy) = echo().await;
    let mut stream = dial(&proxy).await;
    stream.write_all(b"0").await.unwrap();
    hear(&mut stream, 1).await;
    let delay = Duration::from_millis(200);
    proxy.set(Fault::Delay(delay));
    let begun = Instant::now();
    for byte in b"123456789" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(hear(&mut stream, 9).await, b"123456789");
    assert!(begun.elapsed() >= delay && begun.elapsed() < 5 * delay, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn lost_replies_stay_lost() {
    let (_server, proxy) = echo().await;
    let mut stream = dial(&proxy).await;
    stream.write_all(b"1").await.unwrap();
    hear(&mut stream, 1).await;
    proxy.set(Fault::DropReplies);
    stream.write_all(b"lost").await.unwrap();
    eventually("the request reached the server", SOON, || async { proxy.bytes().0 == 5 }).await;
    assert!(timeout(NOTHING, stream.read_u8()).await.is_err());
    proxy.set(Fault::Pass);
    assert_eq!(ends(&mut stream).await, b"");
}

#[tokio::test]
async fn a_connection_is_cut_at_the_byte() {
    let (_server, proxy) = echo().await;
    proxy.set(Fault::CutAfter(3));
    let mut stream = dial(&proxy).await;
    stream.write_all(b"abcdef").await.unwrap();
    assert_eq!(ends(&mut stream).await, b"abc");
}

#[tokio::test]
async fn refusal_is_for_new_connections_and_a_cut_for_the_old() {
    let (_server, proxy) = echo().await;
    let mut old = dial(&proxy).await;
    // A connection that was not accepted yet would be refused as well.
    old.write_all(b"x").await.unwrap();
    hear(&mut old, 1).await;
    proxy.set(Fault::Refuse);
    eventually("new ones are refused", SOON, || async {
        TcpStream::connect(("127.0.0.1", proxy.port())).await.is_err()
    })
    .await;
    old.write_all(b"x").await.unwrap();
    assert_eq!(hear(&mut old, 1).await, b"x");
    proxy.cut();
    assert_eq!(ends(&mut old).await, b"");
    proxy.set(Fault::Pass);
    eventually("new ones are taken again", SOON, || async {
        TcpStream::connect(("127.0.0.1", proxy.port())).await.is_ok()
    })
    .await;
}

/// The server sends back what it receives: what comes back has reached it.
#[tokio::test]
async fn a_script_is_stopped_before_the_server_has_it_or_on_its_way_back() {
    const CALL: &[u8] = b"*2\r\n$4\r\nEVAL\r\n$1\r\n1\r\n";
    for (moment, reached) in [(Moment::Before, 0), (Moment::After, 1)] {
        let (_server, proxy) = echo().await;
        proxy.set(Fault::StopAt(moment, 1));
        let (mut first, mut second) = (dial(&proxy).await, dial(&proxy).await);
        first.write_all(CALL).await.unwrap();
        assert_eq!(hear(&mut first, CALL.len()).await, CALL);
        assert!(timeout(NOTHING, proxy.stopped()).await.is_err());
        second.write_all(&[CALL, CALL].concat()).await.unwrap();
        timeout(SOON, proxy.stopped()).await.expect("it is stopped");
        assert!(timeout(NOTHING, second.read_u8()).await.is_err(), "{moment:?}");
        assert_eq!(proxy.bytes().0, (1 + reached) * CALL.len() as u64, "{moment:?}");
        first.write_all(CALL).await.unwrap();
        assert_eq!(hear(&mut first, CALL.len()).await, CALL, "others go on");
    }
}
