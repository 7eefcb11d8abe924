//! Scripts that meet a slot on the move: while its keys are at both ends, a script over several of them is refused.

use std::time::Duration;

use ::redis::Value;
use tokio::time::{Instant, sleep};

use super::{Redis, Script, refused_with};
use crate::Result;

/// The first and the longest pause before such a script is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

impl Redis {
    /// [`eval`](Self::eval) for a caller who would rather wait, within the deadline, than be refused because the slot is on
    /// the move. The refusal says that nothing was done, so a repeat is no second time.
    ///
    /// Readers do not wait: they have a source.
    ///
    /// # Errors
    /// As [`eval`](Self::eval), `Unavailable` also if the slot is still on the move at the deadline.
    pub(crate) async fn eval_when_whole(
        &self,
        script: &'static Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value> {
        let until = Instant::now() + self.deadline;
        let call = script.command(keys, args);
        let mut pause = PAUSE.0;
        loop {
            let reply = self.eval_until(&call, until).await;
            let split = reply.as_ref().is_ok_and(|reply| refused_with(reply, "TRYAGAIN"));
            // With as much time left for the next attempt: one that is cut off has an outcome that nobody knows.
            if !split || Instant::now() + 2 * pause >= until {
                return self.outcome_of(script, reply);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}
