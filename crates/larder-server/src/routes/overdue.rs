//! The deadline of requests: one timer for all that come one after the other on a connection.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// A longer deadline than this is none: an instant cannot be as far away as a duration can be long.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A timer that one request leaves to the next as it is set: setting it, and taking it back, takes the lock that all timers of
/// the process share, and nearly every request ends long before its deadline. It rings once in a while for a request that has
/// ended; the one that has it then sets it on.
#[derive(Debug, Default)]
pub(crate) struct KeptTimer(Mutex<Option<Pin<Box<Sleep>>>>);

impl KeptTimer {
    /// The outcome of `work`, or `None` if it has none before the deadline. A near hit has one at the first look and needs no
    /// timer; what waits is not looked at a second time to no purpose. Of requests at the same time, which HTTP/2 brings, one
    /// has the kept timer and each other one a timer of its own.
    pub(crate) async fn within<T>(
        &self,
        deadline: Duration,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut alarm = None;
        poll_fn(|context| {
            if let Poll::Ready(outcome) = work.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            alarm.get_or_insert_with(|| Alarm::new(self, deadline)).poll(context).map(|()| None)
        })
        .await
    }
}

/// The kept timer in the hands of one request.
struct Alarm<'a> {
    home: &'a KeptTimer,
    timer: Option<Pin<Box<Sleep>>>,
    until: Instant,
}

impl<'a> Alarm<'a> {
    fn new(home: &'a KeptTimer, deadline: Duration) -> Self {
        let until = Instant::now() + deadline.min(LONGEST);
        let timer = home.0.lock().take().unwrap_or_else(|| Box::pin(sleep_until(until)));
        Self { home, timer: Some(timer), until }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.as_mut().expect("it is given back when this is dropped");
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= self.until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.until);
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        *self.home.0.lock() = self.timer.take();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use tokio::{sync::oneshot, task::yield_now, time::advance};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn has_its_whole_deadline(timer: &KeptTimer) {
        let begun = Instant::now();
        assert_eq!(timer.within(DEADLINE, pin!(pending::<()>())).await, None);
        // Timers ring at whole milliseconds.
        let late = begun.elapsed().checked_sub(DEADLINE);
        assert!(late.is_some_and(|late| late < Duration::from_millis(3)), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_request_has_its_whole_deadline_however_the_timer_was_left() {
        let timer = KeptTimer::default();
        for used in [Duration::ZERO, DEADLINE / 3, DEADLINE * 3] {
            let work = async {
                yield_now().await;
                advance(DEADLINE / 2).await;
            };
            assert_eq!(timer.within(DEADLINE, pin!(work)).await, Some(()));
            assert!(timer.0.lock().is_some(), "it is kept");
            advance(used).await;
            has_its_whole_deadline(&timer).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_the_same_time_have_timers_of_their_own() {
        let timer = KeptTimer::default();
        let later = async {
            advance(DEADLINE / 2).await;
            has_its_whole_deadline(&timer).await;
        };
        tokio::join!(has_its_whole_deadline(&timer), has_its_whole_deadline(&timer), later);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_needs_no_timer_and_what_is_told_is_looked_at() {
        let timer = KeptTimer::default();
        assert_eq!(timer.within(DEADLINE, pin!(async { 1 })).await, Some(1));
        assert!(timer.0.lock().is_none());
        let (tell, told) = oneshot::channel();
        let telling = async {
            yield_now().await;
            tell.send(2).unwrap();
        };
        let mut told = pin!(told);
        let (answer, ()) = tokio::join!(timer.within(DEADLINE, told.as_mut()), telling);
        assert_eq!(answer, Some(Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_without_end_is_one() {
        assert_eq!(KeptTimer::default().within(Duration::MAX, pin!(yield_now())).await, Some(()));
    }
}
