//! Between the callers of a connection and its mover: the commands that are to leave next, and who waits for them.

use std::{io, mem};

use ::redis::{RedisError, RedisResult, ServerError, Value};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// How many commands may be without a reply at once. Past it callers wait, within their own deadlines.
pub(super) const MOST_UNANSWERED: usize = 16_384;
/// Down to how many before those who wait are let in again, all at once: not all are woken for each reply.
const ROOMY: usize = MOST_UNANSWERED / 2;
/// From how many bytes on that wait for the socket callers wait too.
pub(super) const MOST_UNSENT_BYTES: usize = 8 << 20;

/// What a call needs before it may be left to the mover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    None,
    ForOneMore,
}

/// Who waits for what has been sent.
#[derive(Debug)]
pub(super) enum Caller {
    One(oneshot::Sender<RedisResult<Value>>),
    All { to: oneshot::Sender<RedisResult<Vec<Value>>>, count: usize, values: Vec<Value> },
}

impl Caller {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::All { count, .. } => *count,
        }
    }

    fn has_left(&self) -> bool {
        match self {
            Self::One(to) => to.is_closed(),
            Self::All { to, .. } => to.is_closed(),
        }
    }

    /// Takes the next reply; gives itself back if it waits for more. Whoever has left is answered in vain.
    pub(super) fn answer(self, reply: Value) -> Option<Self> {
        match self {
            Self::One(to) => {
                let _ = to.send(Ok(reply));
                None
            }
            Self::All { to, count, mut values } => {
                values.push(reply);
                if values.len() < count {
                    return Some(Self::All { to, count, values });
                }
                let _ = to.send(Ok(values));
                None
            }
        }
    }

    pub(super) fn fail(self, error: RedisError) {
        let _ = match self {
            Self::One(to) => to.send(Err(error)).is_ok(),
            Self::All { to, .. } => to.send(Err(error)).is_ok(),
        };
    }
}

/// What goes from the callers to the mover.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Held for as long as it takes to write down a command. Never held while anything is awaited.
    queue: Mutex<Queue>,
    pub(super) mover: AtomicWaker,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Commands as they are to be sent.
    bytes: Vec<u8>,
    /// Who waits for them, in their order, and where in `bytes` each one's end.
    waiting: Vec<(Caller, usize)>,
    /// Replies that are missing, sent for or not.
    unanswered: usize,
    /// Whether callers have to wait, until there is room again for many.
    is_crowded: bool,
    /// Why there will be no more replies.
    ended: Option<RedisError>,
}

impl Line {
    /// Leaves a call to the mover, once there is the room that it needs.
    pub(super) async fn call(
        &self,
        write: impl Fn(&mut Vec<u8>),
        mut caller: Caller,
        needed: Room,
    ) -> RedisResult<()> {
        loop {
            // Before the attempt: room that is made after it wakes us.
            let room = self.room.notified();
            match self.leave(&write, caller, needed)? {
                None => return Ok(()),
                Some(back) => caller = back,
            }
            room.await;
        }
    }

    /// Gives the caller back if there is no room.
    fn leave(
        &self,
        write: &impl Fn(&mut Vec<u8>),
        caller: Caller,
        needed: Room,
    ) -> RedisResult<Option<Caller>> {
        let mut queue = self.queue.lock();
        if let Some(error) = &queue.ended {
            return Err(error.clone());
        }
        queue.is_crowded |= queue.unanswered >= MOST_UNANSWERED || queue.bytes.len() >= MOST_UNSENT_BYTES;
        if queue.is_crowded && needed == Room::ForOneMore {
            return Ok(Some(caller));
        }
        write(&mut queue.bytes);
        let end = queue.bytes.len();
        queue.unanswered += caller.count();
        queue.waiting.push((caller, end));
        drop(queue);
        self.mover.wake();
        Ok(None)
    }

    /// Moves what was left to `bytes`, which is empty, and to the end of `callers`, but for what nobody waits for any more.
    /// `answered` replies have come since the last time.
    pub(super) fn collect(&self, answered: usize, bytes: &mut Vec<u8>, callers: &mut impl Extend<Caller>) {
        let mut queue = self.queue.lock();
        queue.unanswered -= answered;
        if queue.waiting.iter().any(|(caller, _)| caller.has_left()) {
            queue.drop_what_is_of_no_use();
        }
        mem::swap(bytes, &mut queue.bytes);
        callers.extend(queue.waiting.drain(..).map(|(caller, _)| caller));
        if queue.is_crowded && queue.unanswered <= ROOMY {
            queue.is_crowded = false;
            drop(queue);
            self.room.notify_waiters();
        }
    }

    /// There will be no more replies. Returns who waits for what was never sent.
    pub(super) fn end(&self, error: &RedisError) -> Vec<Caller> {
        let mut queue = self.queue.lock();
        queue.ended.get_or_insert_with(|| error.clone());
        let waiting = mem::take(&mut queue.waiting);
        drop(queue);
        self.room.notify_waiters();
        waiting.into_iter().map(|(caller, _)| caller).collect()
    }
}

#[cfg(test)]
impl Line {
    /// How many calls are left to the mover, how many replies are missing, and whether callers have to wait.
    pub(super) fn state(&self) -> (usize, usize, bool) {
        let queue = self.queue.lock();
        (queue.waiting.len(), queue.unanswered, queue.is_crowded)
    }
}

impl Queue {
    /// Callers who have left are spared their commands, and so is a server that has fallen behind.
    fn drop_what_is_of_no_use(&mut self) {
        let (left, waiting) = (mem::take(&mut self.bytes), mem::take(&mut self.waiting));
        let mut begin = 0;
        for (caller, end) in waiting {
            let commands = &left[mem::replace(&mut begin, end)..end];
            if caller.has_left() {
                self.unanswered -= caller.count();
            } else {
                self.bytes.extend_from_slice(commands);
                self.waiting.push((caller, self.bytes.len()));
            }
        }
    }
}

/// The connection has ended, after this.
pub(super) fn closed(last_word: Option<&ServerError>) -> RedisError {
    let why = last_word.map(|word| format!(": {} {}", word.code(), word.details().unwrap_or_default()));
    let message = format!("the server closed the connection{}", why.unwrap_or_default());
    io::Error::new(io::ErrorKind::BrokenPipe, message).into()
}
