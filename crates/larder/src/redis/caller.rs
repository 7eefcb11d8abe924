//! Who waits for what has been sent on a connection, and how each one hears of it.

use ::redis::{RedisError, RedisResult, Value};
use tokio::sync::oneshot;

/// Where a caller hears of its replies.
pub(super) type Reply<T> = oneshot::Receiver<RedisResult<T>>;

/// One call that was left to the mover.
#[derive(Debug)]
pub(super) enum Caller {
    One(oneshot::Sender<RedisResult<Value>>),
    All { to: oneshot::Sender<RedisResult<Vec<Value>>>, count: usize, values: Vec<Value> },
}

/// What became of a caller who took a reply.
pub(super) enum Taken {
    More(Caller),
    Last(Answered),
}

/// A call that has all of its replies, before its caller hears of them.
pub(super) enum Answered {
    One(oneshot::Sender<RedisResult<Value>>, Value),
    All(oneshot::Sender<RedisResult<Vec<Value>>>, Vec<Value>),
}

impl Caller {
    /// Waits for one reply.
    pub(super) fn of_one() -> (Self, Reply<Value>) {
        let (to, reply) = oneshot::channel();
        (Self::One(to), reply)
    }

    /// Waits for several replies, at least one.
    pub(super) fn of_all(count: usize) -> (Self, Reply<Vec<Value>>) {
        let (to, replies) = oneshot::channel();
        (Self::All { to, count, values: Vec::with_capacity(count) }, replies)
    }

    /// How many replies are still to come.
    pub(super) fn missing(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::All { count, values, .. } => count - values.len(),
        }
    }

    pub(super) fn has_left(&self) -> bool {
        match self {
            Self::One(to) => to.is_closed(),
            Self::All { to, .. } => to.is_closed(),
        }
    }

    /// Takes the next reply.
    pub(super) fn take(self, reply: Value) -> Taken {
        match self {
            Self::One(to) => Taken::Last(Answered::One(to, reply)),
            Self::All { to, count, mut values } => {
                values.push(reply);
                match values.len() < count {
                    true => Taken::More(Self::All { to, count, values }),
                    false => Taken::Last(Answered::All(to, values)),
                }
            }
        }
    }

    /// Whoever has left is told in vain.
    pub(super) fn fail(self, error: RedisError) {
        let _ = match self {
            Self::One(to) => to.send(Err(error)).is_ok(),
            Self::All { to, .. } => to.send(Err(error)).is_ok(),
        };
    }
}

impl Answered {
    /// Tells the caller. Whoever has left is told in vain.
    pub(super) fn tell(self) {
        let _ = match self {
            Self::One(to, value) => to.send(Ok(value)).is_ok(),
            Self::All(to, values) => to.send(Ok(values)).is_ok(),
        };
    }
}
