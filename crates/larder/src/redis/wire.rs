//! One connection to one server: the driver's multiplexer, and the task that moves its bytes.

use std::{
    pin::Pin,
    sync::Arc,
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
        let mover = tokio::spawn(Gathering { mover: Box::pin(mover), has_waited: false });
        Ok(Self { multiplexer, _mover: Arc::new(AbortOnDropHandle::new(mover)) })
    }

    /// Sends one command and waits for its reply. An error reply is a value.
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.multiplexer.send_packed_command(cmd).await
    }

    /// Sends all commands in one write and waits for all replies. Error replies stay in their places.
    pub(crate) async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.multiplexer.send_packed_commands(pipeline, 0, pipeline.len()).await
    }
}

/// Runs the mover, but each time that it is woken lets the other ready tasks of its thread go first. What they send then
/// leaves in one write. Without that each command has a write of its own, which costs more than everything else in it.
struct Gathering<F> {
    mover: Pin<Box<F>>,
    has_waited: bool,
}

impl<F: Future<Output = ()>> Future for Gathering<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.has_waited {
            self.has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_waited = false;
        self.mover.as_mut().poll(context)
    }
}
