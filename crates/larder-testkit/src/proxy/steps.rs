//! Scripts that clients call through a proxy: counted, so that a test can stop a client at each of them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Fault, Moment, pump::Direction};

/// What all connections have in common that are counted together.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    called: AtomicU64,
    pub(crate) stopped: watch::Sender<bool>,
}

impl Steps {
    /// Counts from the beginning.
    pub(crate) fn reset(&self) {
        self.called.store(0, Ordering::SeqCst);
        self.stopped.send_replace(false);
    }
}

/// The calls of one connection, from its first byte on.
#[derive(Debug)]
pub(crate) struct Calls {
    steps: Arc<Steps>,
    moment: Moment,
    nth: u64,
    /// What has no reply yet: whether it is the call to stop at.
    asked: Mutex<VecDeque<bool>>,
}

/// What becomes of a chunk.
pub(crate) struct Passed {
    pub(crate) chunk: BytesMut,
    /// Nothing more passes in this direction.
    pub(crate) is_last: bool,
}

impl Calls {
    /// `None` if this fault stops nothing.
    pub(crate) fn counted(steps: &Arc<Steps>, fault: Fault) -> Option<Self> {
        let Fault::StopAt(moment, nth) = fault else { return None };
        Some(Self { steps: Arc::clone(steps), moment, nth, asked: Mutex::default() })
    }

    /// What is passed on of a chunk, and of what was kept of the ones before: whole requests, or replies.
    pub(crate) fn pass(&self, direction: Direction, kept: &mut BytesMut, chunk: &[u8]) -> Passed {
        kept.extend_from_slice(chunk);
        let mut end = 0;
        while let Some(length) = length_of(&kept[end..]) {
            let value = &kept[end..end + length];
            let stops = match direction {
                Direction::ToServer => self.asks(value),
                Direction::ToClient => self.is_answered(value),
            };
            // What the server is to carry out is passed on, and nothing behind it.
            let passes = !stops || (direction, self.moment) == (Direction::ToServer, Moment::After);
            end += if passes { length } else { 0 };
            if stops {
                return Passed { chunk: kept.split_to(end), is_last: true };
            }
        }
        Passed { chunk: kept.split_to(end), is_last: false }
    }

    /// Tells the test, if a client that hears no more in this direction is where it was to stop.
    pub(crate) fn tell(&self, direction: Direction) {
        let tells = match self.moment {
            Moment::Before => Direction::ToServer,
            Moment::After => Direction::ToClient,
        };
        if direction == tells {
            self.steps.stopped.send_replace(true);
        }
    }

    fn asks(&self, request: &[u8]) -> bool {
        let is_the_one = is_script(request) && self.steps.called.fetch_add(1, Ordering::SeqCst) == self.nth;
        self.asked.lock().push_back(is_the_one);
        is_the_one
    }

    fn is_answered(&self, reply: &[u8]) -> bool {
        // Whoever subscribes is answered by messages alone, and calls no scripts on that connection.
        let is_message = reply.starts_with(b">");
        !is_message && self.asked.lock().pop_front().unwrap_or(false) && self.moment == Moment::After
    }
}

/// `*5\r\n$7\r\nEVALSHA\r\n…`
fn is_script(request: &[u8]) -> bool {
    let name = request.split(|byte| *byte == b'\n').nth(2).unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"EVAL") || name.eq_ignore_ascii_case(b"EVALSHA")
}

/// How long the first request or reply is; `None` if there is not all of it.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let count = || std::str::from_utf8(&bytes[1..line]).ok()?.trim_end().parse::<usize>().ok();
    let parts = match bytes[0] {
        b'$' | b'=' | b'!' => {
            let length = line + count().map_or(0, |count| count + 2);
            return (length <= bytes.len()).then_some(length);
        }
        b'*' | b'~' | b'>' => count().unwrap_or(0),
        b'%' => 2 * count().unwrap_or(0),
        _ => 0,
    };
    (0..parts).try_fold(line, |end, _| Some(end + length_of(&bytes[end..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const CALL: &[u8] = b"*3\r\n$7\r\nEVALSHA\r\n$1\r\n\n\r\n$1\r\n0\r\n";
    const PONG: &[u8] = b"+PONG\r\n";
    const REPLY: &[u8] = b"*3\r\n:1\r\n$-1\r\n%1\r\n$2\r\n\r\n\r\n*0\r\n";
    const MESSAGE: &[u8] = b">2\r\n$1\r\na\r\n_\r\n";

    fn stopping_at(moment: Moment, nth: u64) -> Calls {
        Calls::counted(&Arc::default(), Fault::StopAt(moment, nth)).expect("it stops")
    }

    /// Everything in pieces of this size: what passes, and whether that was the end.
    fn passed(calls: &Calls, direction: Direction, parts: &[&[u8]], size: usize) -> (Vec<u8>, bool) {
        let (mut kept, mut all) = (BytesMut::new(), Vec::new());
        for chunk in parts.concat().chunks(size) {
            let Passed { chunk, is_last } = calls.pass(direction, &mut kept, chunk);
            all.extend_from_slice(&chunk);
            if is_last {
                calls.tell(direction);
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn a_script_is_kept_from_the_server_wherever_the_requests_are_torn() {
        for size in 1..200 {
            let calls = stopping_at(Moment::Before, 1);
            let heard = passed(&calls, Direction::ToServer, &[PING, CALL, PING, CALL, PING], size);
            assert_eq!(heard, ([PING, CALL, PING].concat(), true));
            assert!(*calls.steps.stopped.borrow());
        }
    }

    #[test]
    fn the_reply_to_a_script_is_kept_back_and_no_other_wherever_the_replies_are_torn() {
        for size in 1..200 {
            let calls = stopping_at(Moment::After, 1);
            let heard = passed(&calls, Direction::ToServer, &[PING, CALL, PING, CALL, PING], size);
            assert_eq!(heard, ([PING, CALL, PING, CALL].concat(), true));
            assert!(!*calls.steps.stopped.borrow(), "the server has not answered");
            let parts = [PONG, MESSAGE, REPLY, PONG, MESSAGE, REPLY, PONG];
            let heard = passed(&calls, Direction::ToClient, &parts, size);
            assert_eq!(heard, ([PONG, MESSAGE, REPLY, PONG, MESSAGE].concat(), true));
            assert!(*calls.steps.stopped.borrow());
        }
    }

    #[test]
    fn a_client_that_does_not_come_so_far_is_not_stopped() {
        for moment in [Moment::Before, Moment::After] {
            let calls = stopping_at(moment, 2);
            let requests = [CALL, PING, CALL];
            assert_eq!(passed(&calls, Direction::ToServer, &requests, 7), (requests.concat(), false));
            let replies = [REPLY, PONG, REPLY];
            assert_eq!(passed(&calls, Direction::ToClient, &replies, 7), (replies.concat(), false));
        }
    }
}
