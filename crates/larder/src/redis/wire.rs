//! One connection to one server: the driver's multiplexer, and the task that moves its bytes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

/// A connection in use. Clones share it; dropping the last one closes it, whatever is still under way.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    multiplexer: MultiplexedConnection,
    callers: Arc<Callers>,
    _mover: Arc<AbortOnDropHandle<()>>,
}

impl Wire {
    /// Logs in on a stream that is open.
    pub(super) async fn over<S>(
        stream: S,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (multiplexer, mover) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        let callers = Arc::new(Callers::default());
        let mover =
            Gathering { mover: Box::pin(mover), callers: callers.clone(), has_waited: false, alone: 0 };
        let mover = tokio::spawn(mover);
        Ok(Self { multiplexer, callers, _mover: Arc::new(AbortOnDropHandle::new(mover)) })
    }

    /// Sends one command and waits for its reply. An error reply is a value.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let _one_more = self.callers.one_more();
        self.multiplexer.send_packed_command(cmd).await
    }

    /// Sends all commands in one write and waits for all replies. Error replies stay in their places.
    pub(crate) async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let _one_more = self.callers.one_more();
        self.multiplexer.send_packed_commands(pipeline, 0, pipeline.len()).await
    }
}

/// Who waits for a reply on this connection.
#[derive(Debug, Default)]
struct Callers {
    count: AtomicUsize,
    /// Whether there were two of them at once since the mover last asked.
    met: AtomicBool,
}

impl Callers {
    fn one_more(&self) -> Caller<'_> {
        if self.count.fetch_add(1, Relaxed) > 0 {
            self.met.store(true, Relaxed);
        }
        Caller(self)
    }
}

/// One of them, until it is dropped.
struct Caller<'a>(&'a Callers);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

/// After how many wake-ups without two callers at once the mover stops to wait for a second one.
const CALM: u8 = 8;

/// Runs the mover, but each time that it is woken lets the other ready tasks of its thread go first. What they send then
/// leaves in one write. Without that each command has a write of its own, which costs more than everything else in it.
/// Where callers come one by one it runs at once: waiting for others would double the time of a round trip.
struct Gathering<F> {
    mover: Pin<Box<F>>,
    callers: Arc<Callers>,
    has_waited: bool,
    /// Wake-ups since two callers met.
    alone: u8,
}

impl<F: Future<Output = ()>> Future for Gathering<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.has_waited {
            let met = self.callers.met.load(Relaxed);
            if met {
                self.callers.met.store(false, Relaxed);
            }
            self.alone = if met { 0 } else { self.alone.saturating_add(1) };
            if self.alone < CALM {
                self.has_waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.has_waited = false;
        self.mover.as_mut().poll(context)
    }
}
