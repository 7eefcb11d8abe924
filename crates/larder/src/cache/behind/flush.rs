//! How far behind the sink is, waiting for it, and whether Redis may be trusted meanwhile.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::{
    Error, ErrorKind, Result,
    cache::behind::{Behind, BehindStats, LOOK},
};

impl Behind {
    /// Returns when the sink has everything that was acknowledged before this call, by whatever node; dead letters are not
    /// waited for. Waits for as long as it takes: put a time-out around it.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis cannot say.
    pub async fn flush(&self) -> Result<()> {
        let shards = 0..self.core.coherence.shards();
        join_all(shards.map(|shard| self.flush_shard(shard))).await.into_iter().collect()
    }

    async fn flush_shard(&self, shard: u16) -> Result<()> {
        let Some((_, newest)) = self.core.ledger.ends(shard).await? else { return Ok(()) };
        let mut pause = LOOK.0;
        loop {
            self.core.wakes[usize::from(shard)].hurry();
            match self.core.ledger.ends(shard).await? {
                Some((oldest, _)) if oldest <= newest => {}
                _ => return Ok(()),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// How far behind the sink is. One round trip for each shard, at the same time.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis cannot say.
    pub async fn stats(&self) -> Result<BehindStats> {
        let counts = &self.core.counts;
        let mut stats = BehindStats {
            acknowledged: counts.acknowledged.load(Relaxed),
            taken: counts.taken.load(Relaxed),
            applied: counts.applied.load(Relaxed),
            retried: counts.retried.load(Relaxed),
            buried: counts.buried.load(Relaxed),
            waited: counts.waited.load(Relaxed),
            fenced: counts.fenced.load(Relaxed),
            ..BehindStats::default()
        };
        let shards = 0..self.core.coherence.shards();
        for shard in join_all(shards.map(|shard| self.core.ledger.counts(shard))).await {
            let (backlog, dead_letters, oldest) = shard?;
            stats.backlog += backlog;
            stats.dead_letters += dead_letters;
            if let Some(version) = oldest {
                let since_ms = self.core.clock.unix_ms().saturating_sub(version / 1_000);
                stats.lag = stats.lag.max(Duration::from_millis(since_ms));
            }
        }
        Ok(stats)
    }

    /// Asks Redis whether it may be trusted with writes that nobody else has. Done by the first put of each connection.
    ///
    /// # Errors
    /// `ErrorKind::Config` with the fix if it may evict keys that never expire; `ErrorKind::Unavailable` or
    /// `ErrorKind::Timeout` if it cannot say.
    pub async fn check(&self) -> Result<()> {
        let redis = self.core.ledger.shared().redis();
        let connection = redis.generation();
        for primary in redis.probe().await?.primaries {
            if let Some(policy) = primary.max_memory_policy.filter(|policy| policy.starts_with("allkeys")) {
                let message = format!(
                    "write-behind needs a redis that keeps what it was given, and {} evicts with {policy}: \
                     set maxmemory-policy to noeviction or to one of volatile-*",
                    primary.address
                );
                return Err(Error::new(ErrorKind::Config, message).with_field("maxmemory-policy"));
            }
        }
        self.core.checked.store(connection, Relaxed);
        Ok(())
    }

    pub(super) async fn ready(&self) -> Result<()> {
        if self.core.checked.load(Relaxed) == self.core.ledger.shared().redis().generation() {
            return Ok(());
        }
        self.check().await
    }

    /// Waits for the sink to have everything, for as long as the settings allow.
    pub(crate) async fn drain(&self) {
        match timeout(self.core.settings.drain_deadline, self.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "Writes may be pending at shutdown; they are safe in Redis.");
            }
            Err(_) => tracing::warn!("Writes are pending at shutdown; they are safe in Redis."),
        }
    }
}
