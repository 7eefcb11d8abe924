//! The auditor: compares what readers are served with what the source has, at a bounded rate, and tells how much of it is
//! stale and how old that is.
//!
//! Each turn takes one of the keys that were read since the last turn, every read with the same chance. So the part of the
//! checks that find something stale is the part of the reads that were served it, and what nobody reads costs nothing.
//!
//! A difference alone is no fault: the source may have been written a moment ago, and the invalidation be on its way. It
//! counts only if, after a time to settle, the source still has something else and the very same copy is still served.

mod check;
mod report;

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

pub use self::report::{AuditStats, STALE_AGE_BOUNDS};
use self::{
    check::{Auditor, Same},
    report::Report,
};
use crate::{Error, ErrorKind, Result, cache::Cache};

/// The fastest pace: a hundred checks a second.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// How an audit goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRules {
    every: Duration,
    settle: Option<Duration>,
}

impl Default for AuditRules {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), settle: None }
    }
}

impl AuditRules {
    /// One check in so much time, at most: one load from the source, and a second one if the values differ. At least 10 ms.
    /// Default: 1 s.
    #[must_use]
    pub fn every(mut self, turn: Duration) -> Self {
        self.every = turn;
        self
    }

    /// How long a change may take to reach this node's readers before what they are served counts as stale. Longer than the
    /// lag of a watch, where there is one. Default: twice the bound of the cache's
    /// [`Consistency`](crate::cache::Consistency).
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = Some(time);
        self
    }
}

/// A running audit. Dropping it ends it.
#[derive(Debug)]
pub struct Audit {
    report: Arc<Report>,
    _task: AbortOnDropHandle<()>,
}

impl Audit {
    /// What was found since it began. No I/O.
    pub fn stats(&self) -> AuditStats {
        self.report.snapshot()
    }
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Audits this node's cache until the handle is dropped: takes keys that are read, loads them from the cache's source past
    /// every tier, and compares. Says nothing of values whose lifetime is over, or that are served stale on purpose.
    ///
    /// Cost: what [`AuditRules`] allow; the loads take their turn among the cache's others, and count as loads. Each stale copy is
    /// logged with its key. It changes nothing: what to do about it, you decide.
    ///
    /// ```no_run
    /// # async fn run(users: larder::Cache<String, String>) -> larder::Result<()> {
    /// use larder::cache::AuditRules;
    ///
    /// let audit = users.audit(&AuditRules::default())?;
    /// # tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    /// let found = audit.stats();
    /// println!("{} of {} were stale, the oldest {:?} after its load", found.stale, found.checked(), found.oldest_stale);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Config` if the cache has no source, or writes behind, where the source is late on purpose; if the rules
    /// are out of bounds; outside of a Tokio runtime.
    pub fn audit(&self, rules: &AuditRules) -> Result<Audit>
    where
        V: PartialEq,
    {
        self.audit_by(rules, Arc::new(V::eq))
    }

    pub(crate) fn audit_by(&self, rules: &AuditRules, same: Same<V>) -> Result<Audit> {
        let wrong = |message: &'static str| Error::new(ErrorKind::Config, message).with_field("audit");
        let source = self.inner.source()?.clone();
        if self.inner.behind.is_some() {
            return Err(wrong("a cache that writes behind is ahead of its source: nothing could be told"));
        }
        if rules.every < SHORTEST_TURN {
            return Err(wrong("a turn must be 10 ms or longer"));
        }
        let runtime = Handle::try_current().map_err(|_| wrong("must be begun inside a Tokio runtime"))?;
        let settle = rules.settle.unwrap_or(self.inner.consistency.bound() * 2);
        let report = Arc::<Report>::default();
        self.inner.heat.begin_drawing();
        let auditor = Auditor { inner: self.inner.clone(), source, same, settle, report: report.clone() };
        let mut turns = interval(rules.every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let task = runtime.spawn(async move {
            loop {
                turns.tick().await;
                auditor.take_turn().await;
            }
        });
        Ok(Audit { report, _task: AbortOnDropHandle::new(task) })
    }
}
