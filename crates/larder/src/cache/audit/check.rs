//! One check: what a reader would be served against what the source has.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    Result,
    cache::{
        Read,
        ahead::is_newer,
        audit::report::{Finding, Report},
        inner::Inner,
    },
    source::SharedSource,
};

/// Whether two values are the same.
pub(crate) type Same<V> = Arc<dyn Fn(&V, &V) -> bool + Send + Sync>;

/// Audits one cache.
pub(super) struct Auditor<K, V> {
    pub(super) inner: Arc<Inner<K, V>>,
    pub(super) source: SharedSource<K, V>,
    pub(super) same: Same<V>,
    pub(super) settle: Duration,
    pub(super) report: Arc<Report>,
}

impl<K, V> Auditor<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Checks one of the keys that were read since the last turn, if there was a read.
    pub(super) async fn take_turn(&self) {
        let Some(key) = self.inner.heat.take_drawn() else { return };
        let finding = self.check(&key).await;
        match &finding {
            Ok(Finding::Stale(age)) => {
                let (cache, age_ms) = (&*self.inner.name, age.as_millis() as u64);
                tracing::warn!(cache, %key, age_ms, "A cached copy is stale.");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(cache = %self.inner.name, %key, %error, "A copy could not be audited.");
            }
        }
        self.report.count(finding.unwrap_or(Finding::Failed));
    }

    async fn check(&self, key: &K) -> Result<Finding> {
        let Some((copy, created_ms)) = self.served(key).await? else { return Ok(Finding::NotCached) };
        if self.is_same(&copy, self.load(key).await?.as_ref()) {
            return Ok(Finding::Same);
        }
        sleep(self.settle).await;
        // The source first: a copy that is looked at later has had all the more time to go.
        if self.is_same(&copy, self.load(key).await?.as_ref()) {
            return Ok(Finding::CaughtUp);
        }
        Ok(match self.served(key).await? {
            Some((now, now_created_ms))
                if !is_newer(now_created_ms, Some(created_ms))
                    && self.is_same(&copy, now.value.as_deref()) =>
            {
                Finding::Stale(now.age)
            }
            _ => Finding::CaughtUp,
        })
    }

    /// What a reader would be served from a cache now, as fresh, and when that was loaded.
    async fn served(&self, key: &K) -> Result<Option<(Read<V>, u64)>> {
        let read = self.inner.peek(key).await?;
        let now_ms = self.inner.clock.monotonic_ms();
        Ok(read.map(|read| {
            let created_ms = now_ms.saturating_sub(read.age.as_millis() as u64);
            (read, created_ms)
        }))
    }

    async fn load(&self, key: &K) -> Result<Option<V>> {
        let (source, key) = (self.source.clone(), key.clone());
        let load = move || Box::pin(async move { source.load(&key).await }) as _;
        self.inner.load(&self.inner.policy, load).await
    }

    fn is_same(&self, copy: &Read<V>, other: Option<&V>) -> bool {
        match (copy.value.as_deref(), other) {
            (None, None) => true,
            (Some(one), Some(other)) => (self.same)(one, other),
            _ => false,
        }
    }
}
