//! A closed-loop client: each connection sends its next request when the last one is answered.
//!
//! usage: `load PORT CONNECTIONS REQUESTS`; prints `seconds,p50_us,p99_us` and fails on any answer but 200.

use std::{
    env,
    error::Error,
    io,
    time::{Duration, Instant},
};

use larder_bench::documents;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [port, connections, requests] = numbers[..] else {
        return Err("usage: load PORT CONNECTIONS REQUESTS".into());
    };
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..connections {
        clients.spawn(one_connection(u16::try_from(port)?, client, connections, requests));
    }
    let mut latencies = Vec::with_capacity(requests);
    while let Some(finished) = clients.join_next().await {
        latencies.extend(finished??);
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_micros();
    println!("{seconds:.3},{},{}", at(0.5), at(0.99));
    Ok(())
}

/// Sends every request whose number falls to this client, and returns how long each took.
async fn one_connection(
    port: u16,
    client: usize,
    clients: usize,
    requests: usize,
) -> io::Result<Vec<Duration>> {
    let mut stream = connect(port).await?;
    let texts: Vec<String> = (0..documents::COUNT)
        .map(|index| {
            format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
                documents::path(index)
            )
        })
        .collect();
    let mut buffer = vec![0; 16 * 1024];
    let mut latencies = Vec::with_capacity(requests / clients + 1);
    for number in (client..requests).step_by(clients) {
        let sent = Instant::now();
        stream.write_all(texts[number % documents::COUNT].as_bytes()).await?;
        let is_last = read_answer(&mut stream, &mut buffer).await?;
        latencies.push(sent.elapsed());
        if is_last {
            stream = connect(port).await?;
        }
    }
    Ok(latencies)
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the server ends the connection with it.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        filled += read;
        if let Some((total, is_last)) = answer_length(&buffer[..filled])? {
            if total == filled {
                return Ok(is_last);
            }
            if total < filled {
                return Err(io::Error::other("more than one answer"));
            }
        }
    }
}

/// The bytes of the whole answer, once its head is complete, and whether it is the last one of its connection.
fn answer_length(answer: &[u8]) -> io::Result<Option<(usize, bool)>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&answer[..head]);
    if !text.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned()));
    }
    let (mut length, mut is_last) = (None, false);
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            is_last = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let length = length.ok_or_else(|| io::Error::other("an answer without content-length"))?;
    Ok(Some((head + 4 + length, is_last)))
}
