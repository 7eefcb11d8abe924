//! Between the callers of a connection and its mover: the commands that are to leave next, and who waits for them.

use std::{io, mem};

use ::redis::{RedisError, RedisResult, ServerError};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::caller::Caller;

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
    /// Replies that have come.
    answered: u64,
    /// Whether a call came while another one was without a reply, since the mover last asked.
    met: bool,
    /// Whether callers have to wait, until there is room again for many.
    is_crowded: bool,
    /// Why there will be no more replies.
    ended: Option<RedisError>,
}

impl Line {
    /// Leaves a call to the mover, at once: `caller` is made only if there is room. `None` if there is none.
    pub(super) fn leave<T>(
        &self,
        needed: Room,
        write: impl FnOnce(&mut Vec<u8>),
        caller: impl FnOnce() -> (Caller, T),
    ) -> RedisResult<Option<T>> {
        let mut queue = self.queue.lock();
        if let Some(error) = &queue.ended {
            return Err(error.clone());
        }
        queue.is_crowded |= queue.unanswered >= MOST_UNANSWERED || queue.bytes.len() >= MOST_UNSENT_BYTES;
        if queue.is_crowded && needed == Room::ForOneMore {
            return Ok(None);
        }
        write(&mut queue.bytes);
        let end = queue.bytes.len();
        let (caller, told) = caller();
        queue.met |= queue.unanswered > 0;
        queue.unanswered += caller.missing();
        queue.waiting.push((caller, end));
        drop(queue);
        self.mover.wake();
        Ok(Some(told))
    }

    /// Completes when there may be room again, made after this was called.
    pub(super) fn room(&self) -> impl Future<Output = ()> {
        self.room.notified()
    }

    /// So many replies have come. To be told before their callers are: a caller who comes back meets nobody else for that.
    pub(super) fn answered(&self, count: usize) {
        let mut queue = self.queue.lock();
        queue.unanswered -= count;
        queue.answered += count as u64;
    }

    /// How many replies have come.
    pub(super) fn replies(&self) -> u64 {
        self.queue.lock().answered
    }

    /// Whether callers met since this was last asked.
    pub(super) fn have_met(&self) -> bool {
        mem::take(&mut self.queue.lock().met)
    }

    /// Moves what was left to `bytes`, which is empty, and to the end of `callers`, but for what nobody waits for any more.
    pub(super) fn collect(&self, bytes: &mut Vec<u8>, callers: &mut impl Extend<Caller>) {
        let mut queue = self.queue.lock();
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
                self.unanswered -= caller.missing();
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

/// The connection was given up while calls were under way.
pub(super) fn given_up() -> RedisError {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection was given up").into()
}
