//! When a connection's mover runs: at once for callers that come one by one, together for those that come at the same time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::line::Line;

/// From which wake-up in a row without two callers at once the mover no longer waits for a second one.
const CALM: u8 = 8;

/// Runs the mover, but each time that it is woken lets the other ready tasks of its thread go first. What they send then
/// leaves in one write, where each command would have one of its own. Where callers come one by one it runs at once: there is
/// nobody to wait for, and the turn that it leaves to others is a part of every round trip.
pub(super) struct Gathering<F> {
    mover: Pin<Box<F>>,
    line: Arc<Line>,
    has_waited: bool,
    /// Wake-ups since two callers met.
    alone: u8,
}

impl<F> Gathering<F> {
    pub(super) fn new(mover: F, line: Arc<Line>) -> Self {
        Self { mover: Box::pin(mover), line, has_waited: false, alone: 0 }
    }
}

impl<F: Future<Output = ()>> Future for Gathering<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.has_waited {
            self.alone = if self.line.have_met() { 0 } else { self.alone.saturating_add(1) };
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

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::Waker,
    };

    use super::*;
    use crate::redis::{caller::Caller, line::Room};

    /// Wakes the mover so often, and says each time whether it ran at once or let others go first.
    fn wake<F: Future<Output = ()>>(
        gathering: &mut Pin<Box<Gathering<F>>>,
        runs: &AtomicUsize,
        times: usize,
    ) -> Vec<bool> {
        let mut poll = || {
            let before = runs.load(Relaxed);
            assert!(gathering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            runs.load(Relaxed) > before
        };
        let one = |_| {
            let at_once = poll();
            assert!(at_once || poll(), "it waits for one turn, not more");
            at_once
        };
        (0..times).map(one).collect()
    }

    fn leave(line: &Line) {
        let write = |bytes: &mut Vec<u8>| bytes.push(0);
        assert!(line.leave(Room::ForOneMore, write, Caller::of_one).unwrap().is_some());
    }

    #[test]
    fn a_mover_waits_for_others_where_callers_met_and_else_runs_at_once() {
        let (runs, line) = (AtomicUsize::new(0), Arc::new(Line::default()));
        let mover = poll_fn(|_| {
            runs.fetch_add(1, Relaxed);
            Poll::Pending
        });
        let mut gathering = Box::pin(Gathering::new(mover, line.clone()));
        let waits_at_first = [vec![false; usize::from(CALM) - 1], vec![true; 3]].concat();
        assert_eq!(wake(&mut gathering, &runs, 10), waits_at_first);
        for _ in 0..3 {
            leave(&line);
            line.answered(1);
            assert_eq!(wake(&mut gathering, &runs, 1), [true], "they came one by one");
        }
        leave(&line);
        leave(&line);
        line.answered(2);
        assert_eq!(wake(&mut gathering, &runs, 11), [vec![false], waits_at_first].concat());
    }
}
