//! One connection to one server: the driver's multiplexer, and the task that moves its bytes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
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
    under_way: Arc<AtomicUsize>,
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
        let under_way = Arc::new(AtomicUsize::new(0));
        let gathering = Gathering { mover: Box::pin(mover), under_way: under_way.clone(), has_waited: false };
        let mover = tokio::spawn(gathering);
        Ok(Self { multiplexer, under_way, _mover: Arc::new(AbortOnDropHandle::new(mover)) })
    }

    /// Sends one command and waits for its reply. An error reply is a value.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let _one_more = UnderWay::begin(&self.under_way);
        self.multiplexer.send_packed_command(cmd).await
    }

    /// Sends all commands in one write and waits for all replies. Error replies stay in their places.
    pub(crate) async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let _one_more = UnderWay::begin(&self.under_way);
        self.multiplexer.send_packed_commands(pipeline, 0, pipeline.len()).await
    }
}

/// A caller that waits for a reply. Counts itself out when it is dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Runs the mover, but each time that it is woken lets the other ready tasks of its thread go first, if more than one caller
/// waits. What they send then leaves in one write. Without that each command has a write of its own, which costs more than
/// everything else in it. A caller that is alone would only wait longer for it: about as long again as the server takes.
struct Gathering<F> {
    mover: Pin<Box<F>>,
    under_way: Arc<AtomicUsize>,
    has_waited: bool,
}

impl<F: Future<Output = ()>> Future for Gathering<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.has_waited && self.under_way.load(Relaxed) > 1 {
            self.has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        self.mover.as_mut().poll(context)
    }
}
