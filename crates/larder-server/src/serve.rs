//! Listening, serving, draining.

use std::{
    convert::Infallible,
    fmt::Display,
    net::{self, SocketAddr},
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use hyper::{
    Request, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    http::request::Parts,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io,
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    app::App,
    routes::{self, Answer, KeptTimer},
    taken::{Noted, Taken},
    workers::{LOOK, Moves, Threads, Workers},
};

/// A listener that is bound, and not yet accepting.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address. Port 0 takes a free one; [`Server::address`] says which.
    ///
    /// # Errors
    /// The address is taken, or is not this machine's.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells whoever waits for it that requests are now answered: writes the address into `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_ready_file(&self, path: &Path) -> io::Result<()> {
        // Written beside and renamed, so that nobody reads half an address.
        let beside = path.with_extension("part");
        std::fs::write(&beside, self.address.to_string())?;
        std::fs::rename(&beside, path)
    }

    /// Serves until `stop` completes, then stops accepting and waits for running requests, at most `drain`.
    /// Returns whether all of them came to their end.
    pub(crate) async fn run(
        self,
        app: Arc<App>,
        workers: &Workers,
        stop: impl Future<Output = ()>,
        drain: Duration,
    ) -> bool {
        let builder = Arc::new(connection_builder(&app));
        let runtimes = workers.runtimes();
        let mut threads = Threads::new(&runtimes);
        let room = Arc::new(Semaphore::new(app.limits.max_connections as usize));
        let mut connections = JoinSet::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One for as long as it takes: begun anew with each look, it would forget that it waits after an error.
        let mut accepting = Box::pin(accept(&self.listener, &room));
        tokio::pin!(stop);
        loop {
            let (stream, permit) = tokio::select! {
                accepted = &mut accepting => {
                    accepting.set(accept(&self.listener, &room));
                    accepted
                }
                () = &mut stop => break,
                // Reaps ended connections, so that the set does not grow.
                Some(_) = connections.join_next() => continue,
                _ = looks.tick() => {
                    app.telemetry.threads_in_use.store(threads.look(), Ordering::Relaxed);
                    continue;
                }
            };
            let number = threads.place();
            let (builder, watcher) = (Arc::clone(&builder), threads.graceful[number].watcher());
            let visitor = Visitor::new(Arc::clone(&app), Arc::clone(&threads.moves[number]));
            let serving = async move {
                let _permit = permit;
                if let Err(error) = serve(stream, &builder, visitor, watcher).await {
                    tracing::warn!(%error, "A connection could not be taken over.");
                }
            };
            connections.spawn_on(serving, &runtimes[number]);
        }
        drop(accepting);
        drop(self.listener);
        tracing::info!(
            in_flight = app.telemetry.slots.taken(),
            "Stopping: no new connections, running requests end."
        );
        timeout(drain, join_all(threads.graceful.into_iter().map(GracefulShutdown::shutdown))).await.is_ok()
    }
}

/// One connection's requests.
#[derive(Debug)]
struct Visitor {
    app: Arc<App>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// What was taken of the answers: one that has ended may still be on its way.
    taken: Taken,
    timer: KeptTimer,
    /// Whether its connection should be another thread's.
    moves: Arc<Moves>,
}

impl Visitor {
    fn new(app: Arc<App>, moves: Arc<Moves>) -> Self {
        Self {
            app,
            moves,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            taken: Taken::default(),
            timer: KeptTimer::default(),
        }
    }

    async fn answer(&self, head: &Parts, body: Incoming) -> Answer {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let mut answer = routes::answer(&self.app, &self.timer, head, body).await;
        // Connections of HTTP/2 say nothing of the kind, and their clients have few.
        if head.version <= Version::HTTP_11 && self.moves.take() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            self.app.telemetry.connections_moved.fetch_add(1, Ordering::Relaxed);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// Answers what a connection brings, on the runtime that runs this.
async fn serve(
    stream: net::TcpStream,
    builder: &Builder<TokioExecutor>,
    visitor: Visitor,
    watcher: Watcher,
) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    let visitor = Arc::new(visitor);
    let served = Arc::clone(&visitor);
    let service = service_fn(move |request: Request<Incoming>| {
        let visitor = Arc::clone(&visitor);
        // Here, so that what is moved for each request has it once.
        let (head, body) = request.into_parts();
        async move { Ok::<_, Infallible>(visitor.answer(&head, body).await) }
    });
    let stream = Noted::new(stream, served.taken.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    hold(watcher.watch(connection), &served).await;
    Ok(())
}

/// Runs a connection to its end, and closes it when it brings nothing and takes nothing.
///
/// Looks once per idle time-out instead of setting a timer for each request's head, as hyper's own time-out does: on the
/// hit path that would be one of the larger costs.
async fn hold<E: Display>(connection: impl Future<Output = Result<(), E>>, visitor: &Visitor) {
    let period = visitor.app.limits.idle_timeout;
    let mut connection = pin!(connection);
    let mut before = None;
    loop {
        match timeout(period, connection.as_mut()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "A connection ended early.");
                return;
            }
            Err(_) => {
                let (begun, ended) =
                    (visitor.begun.load(Ordering::Relaxed), visitor.ended.load(Ordering::Relaxed));
                let now = Some((ended, visitor.taken.bytes()));
                if begun == ended && now == before {
                    return;
                }
                before = now;
            }
        }
    }
}

fn connection_builder(app: &App) -> Builder<TokioExecutor> {
    let limits = &app.limits;
    let mut builder = Builder::new(TokioExecutor::new());
    // Most answers are small: copied behind their head they leave with one plain write, which costs the kernel less than
    // gathering two pieces.
    builder
        .http1()
        .max_buf_size(limits.max_header_bytes as usize)
        .writev(false)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.max_header_bytes as u32)
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30));
    builder
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (net::TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        // As one that no runtime has: another one than this will.
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                // Answers are small and written at once: waiting for more to send would only delay them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "A connection refused TCP_NODELAY.");
                }
                return (stream, permit);
            }
            Err(error) if is_the_clients_fault(&error) => {}
            Err(error) => {
                // Out of file descriptors, most likely: other connections must end first.
                tracing::warn!(%error, "Accepting a connection failed; trying again in a second.");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn is_the_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Takes the signals that ask the process to stop, from now on: Ctrl-C, and SIGTERM. The future completes with the first
/// one. A signal that comes before the future is awaited is not lost.
///
/// # Errors
/// The system does not let the process listen to signals.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::parse;

    /// The next answer of a server that keeps its connections, without a body.
    async fn head(client: &mut TcpStream) -> String {
        client.write_all(b"HEAD /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(answer).unwrap().to_ascii_lowercase()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_is_to_move_ends_behind_its_next_answer() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("data_dir = \"{}\"\nauth.open = true\n", folder.path().display());
        let config = parse("test", &text, &BTreeMap::new()).unwrap();
        let app = Arc::new(App::open(&config, Vec::new()).await.unwrap());
        let moves = Arc::<Moves>::default();
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let (builder, graceful) = (connection_builder(&app), GracefulShutdown::new());
        let visitor = Visitor::new(Arc::clone(&app), Arc::clone(&moves));
        let watcher = graceful.watcher();
        let serving = tokio::spawn(async move { serve(stream, &builder, visitor, watcher).await });
        for _ in 0..2 {
            assert!(!head(&mut client).await.contains("connection: close"));
        }
        moves.order(1);
        let answer = head(&mut client).await;
        assert!(answer.contains("200 ok") && answer.contains("connection: close"), "{answer}");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it has ended");
        serving.await.unwrap().unwrap();
        assert!(!moves.take(), "it was the one that was ordered");
        assert_eq!(app.telemetry.connections_moved.load(Ordering::Relaxed), 1);
    }
}
