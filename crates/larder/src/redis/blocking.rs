//! Commands that wait at the server (`XREAD BLOCK`, `BLPOP`, `WAITAOF`), on a connection of their own.
//!
//! On the shared connection they would hold up every call behind them.

use std::time::Duration;

use ::redis::{Cmd, Value};

use super::{
    Redis,
    error::{from_driver, from_reply, timed_out},
    wire::Wire,
};
use crate::{Error, ErrorKind, Result};

/// One connection for blocking reads of keys in one slot. Opened by the first read, and again after any trouble.
#[derive(Debug)]
pub(crate) struct BlockingReader {
    redis: Redis,
    slot_key: Vec<u8>,
    connection: Option<Wire>,
}

impl BlockingReader {
    pub(crate) fn new(redis: &Redis, slot_key: &[u8]) -> Self {
        Self { redis: redis.clone(), slot_key: slot_key.to_owned(), connection: None }
    }

    /// Runs `cmd`, which waits at the server for at most `wait`, and gives it the handle's deadline on top of that.
    /// One round trip; the first one also connects.
    ///
    /// # Errors
    /// `Unavailable` at once while the primary is away, and if the connection breaks. `Timeout` if the server is
    /// silent beyond its time: the outcome is unknown, and the connection is given up, so that no late reply can be
    /// taken for the answer to another read.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. What the server had already taken from a list for this read is then
    /// lost, as with any client that dies: use streams where that matters.
    pub(crate) async fn read(&mut self, cmd: &Cmd, wait: Duration) -> Result<Value> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let deadline = wait + self.redis.deadline;
        let reply = match tokio::time::timeout(deadline, connection.ask(cmd)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(from_driver(&error).0),
            Err(_) => return Err(timed_out(deadline)),
        };
        match reply {
            // A replica, a moved slot: the next read looks for the right primary.
            Value::ServerError(refusal) => Err(from_reply(&refusal).0),
            reply => {
                self.connection = Some(connection);
                Ok(reply)
            }
        }
    }

    async fn open(&self) -> Result<Wire> {
        let ears = &self.redis.inner.ears;
        let primary = ears.topology.primary_of(&self.slot_key);
        let primary = primary.ok_or_else(|| Error::new(ErrorKind::Unavailable, "redis is not connected"))?;
        ears.dialer.open(&primary, |_| {}).await
    }
}
