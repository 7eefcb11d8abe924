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
use hyper::{Request, body::Incoming, http::request::Parts, service::service_fn};
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
    time::{sleep, timeout},
};

use crate::{
    app::App,
    routes::{self, Answer, KeptTimer},
    taken::{Noted, Taken},
    workers::Workers,
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
        // One for each: what all connections look at all the time would travel between the cores.
        let graceful: Vec<_> = runtimes.iter().map(|_| GracefulShutdown::new()).collect();
        let room = Arc::new(Semaphore::new(app.limits.max_connections as usize));
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let (stream, permit) = tokio::select! {
                accepted = accept(&self.listener, &room) => accepted,
                () = &mut stop => break,
                // Reaps ended connections, so that the set does not grow.
                Some(_) = connections.join_next() => continue,
            };
            let worker = fewest(&graceful);
            let (builder, app, watcher) =
                (Arc::clone(&builder), Arc::clone(&app), graceful[worker].watcher());
            let serving = async move {
                let _permit = permit;
                if let Err(error) = serve(stream, &builder, app, watcher).await {
                    tracing::warn!(%error, "A connection could not be taken over.");
                }
            };
            connections.spawn_on(serving, &runtimes[worker]);
        }
        drop(self.listener);
        tracing::info!(
            in_flight = app.telemetry.slots.taken(),
            "Stopping: no new connections, running requests end."
        );
        timeout(drain, join_all(graceful.into_iter().map(GracefulShutdown::shutdown))).await.is_ok()
    }
}

/// Which of the workers has the fewest connections.
fn fewest(graceful: &[GracefulShutdown]) -> usize {
    let numbered = graceful.iter().enumerate();
    numbered.min_by_key(|(_, worker)| worker.count()).map_or(0, |(number, _)| number)
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
}

impl Visitor {
    fn new(app: Arc<App>) -> Self {
        Self {
            app,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            taken: Taken::default(),
            timer: KeptTimer::default(),
        }
    }

    async fn answer(&self, head: &Parts, body: Incoming) -> Answer {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let answer = routes::answer(&self.app, &self.timer, head, body).await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

/// Answers what a connection brings, on the runtime that runs this.
async fn serve(
    stream: net::TcpStream,
    builder: &Builder<TokioExecutor>,
    app: Arc<App>,
    watcher: Watcher,
) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    let visitor = Arc::new(Visitor::new(app));
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
    use super::*;

    #[test]
    fn connections_are_spread_evenly_and_those_that_end_make_room() {
        let workers = [(); 3].map(|()| GracefulShutdown::new());
        let seat = || {
            let worker = fewest(&workers);
            (worker, workers[worker].watcher())
        };
        let mut seats: Vec<_> = (0..9).map(|_| seat()).collect();
        let counts = || [0, 1, 2].map(|worker: usize| workers[worker].count());
        assert_eq!(counts(), [3, 3, 3]);
        seats.retain(|(worker, _)| *worker != 1);
        assert_eq!(counts(), [3, 0, 3]);
        seats.extend((0..3).map(|_| seat()));
        assert_eq!(counts(), [3, 3, 3]);
    }
}
