//! Who waits for what has been sent on a connection, and how each one hears of it.

use std::mem;

use ::redis::{RedisError, Value};
use tokio::{sync::oneshot, time::Instant};

/// Why a call has no reply.
#[derive(Debug)]
pub(super) enum Failed {
    /// Its deadline passed; the outcome is not known.
    Overdue,
    /// The connection ended, or brought something else than RESP.
    Broken(RedisError),
}

/// Where a caller hears of its replies.
pub(super) type Reply<T> = oneshot::Receiver<Result<T, Failed>>;

/// One call that was left to the mover.
#[derive(Debug)]
pub(super) struct Caller {
    waits: Waits,
    until: Option<Instant>,
}

#[derive(Debug)]
enum Waits {
    ForOne(oneshot::Sender<Result<Value, Failed>>),
    ForAll {
        to: oneshot::Sender<Result<Vec<Value>, Failed>>,
        count: usize,
        values: Vec<Value>,
    },
    /// For nothing any more; so many replies are still to come.
    Over(usize),
}

/// What became of a caller who took a reply.
pub(super) enum Taken {
    More(Caller),
    Last(Answered),
}

/// A call that has all of its replies, before its caller hears of them.
pub(super) enum Answered {
    One(oneshot::Sender<Result<Value, Failed>>, Value),
    All(oneshot::Sender<Result<Vec<Value>, Failed>>, Vec<Value>),
    Nobody,
}

impl Caller {
    /// Waits for one reply, until a moment; without one, its caller sees to that.
    pub(super) fn of_one(until: Option<Instant>) -> (Self, Reply<Value>) {
        let (to, reply) = oneshot::channel();
        (Self { waits: Waits::ForOne(to), until }, reply)
    }

    /// The same for several replies.
    pub(super) fn of_all(count: usize, until: Option<Instant>) -> (Self, Reply<Vec<Value>>) {
        let (to, replies) = oneshot::channel();
        let waits = Waits::ForAll { to, count, values: Vec::with_capacity(count) };
        (Self { waits, until }, replies)
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many replies are still to come.
    pub(super) fn missing(&self) -> usize {
        match &self.waits {
            Waits::ForOne(_) => 1,
            Waits::ForAll { count, values, .. } => count - values.len(),
            Waits::Over(missing) => *missing,
        }
    }

    pub(super) fn has_left(&self) -> bool {
        match &self.waits {
            Waits::ForOne(to) => to.is_closed(),
            Waits::ForAll { to, .. } => to.is_closed(),
            Waits::Over(_) => true,
        }
    }

    /// Takes the next reply.
    pub(super) fn take(self, reply: Value) -> Taken {
        let more = |waits| Taken::More(Self { waits, until: self.until });
        match self.waits {
            Waits::ForOne(to) => Taken::Last(Answered::One(to, reply)),
            Waits::ForAll { to, count, mut values } => {
                values.push(reply);
                match values.len() < count {
                    true => more(Waits::ForAll { to, count, values }),
                    false => Taken::Last(Answered::All(to, values)),
                }
            }
            Waits::Over(missing) if missing > 1 => more(Waits::Over(missing - 1)),
            Waits::Over(_) => Taken::Last(Answered::Nobody),
        }
    }

    /// Fails the call if it is overdue. Returns until when it waits, if it does.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let until = self.until.filter(|_| !self.has_left())?;
        if until > now {
            return Some(until);
        }
        let over = Waits::Over(self.missing());
        mem::replace(&mut self.waits, over).fail(Failed::Overdue);
        None
    }

    pub(super) fn fail(self, error: RedisError) {
        self.waits.fail(Failed::Broken(error));
    }
}

impl Waits {
    /// Whoever has left is told in vain.
    fn fail(self, failed: Failed) {
        let _ = match self {
            Self::ForOne(to) => to.send(Err(failed)).is_ok(),
            Self::ForAll { to, .. } => to.send(Err(failed)).is_ok(),
            Self::Over(_) => true,
        };
    }
}

impl Answered {
    /// Tells the caller. Whoever has left is told in vain.
    pub(super) fn tell(self) {
        let _ = match self {
            Self::One(to, value) => to.send(Ok(value)).is_ok(),
            Self::All(to, values) => to.send(Ok(values)).is_ok(),
            Self::Nobody => true,
        };
    }
}

/// The earlier one of two deadlines, of which there may be none.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}
