//! `[cache]`, and the same keys under a collection.

use std::time::Duration;

use larder::cache::{Consistency, Policy};

use crate::config::{reader::Reader, setting::ByteSize};

/// As many as a collection has shards.
const MOST_REPLICAS: u32 = 16;

/// How one collection, or every collection by default, is cached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CacheSettings {
    /// How long a document is fresh.
    pub ttl: Duration,
    /// How long a list is fresh; zero if lists are not cached.
    pub lists_ttl: Duration,
    /// The part of the lifetime by which it is shortened at random.
    pub jitter: f64,
    /// How long "there is no such document" is remembered.
    pub negative_ttl: Duration,
    /// How long past its lifetime a document is served while it is refreshed behind.
    pub stale_while_revalidate: Duration,
    /// How long past its lifetime a document is served when the database fails.
    pub stale_if_error: Duration,
    /// How long a node serves its own copy without asking Redis.
    pub near_ttl: Option<Duration>,
    /// How long a node serves its own copy of a hot document without asking Redis, if longer.
    pub hot_near_ttl: Option<Duration>,
    /// In how many shards a hot document may stand; all nodes must agree.
    pub hot_replicas: u32,
    /// How far the copies of different nodes may drift apart; all nodes must agree.
    pub consistency: ConsistencyMode,
    /// The bound that belongs to it.
    pub consistency_bound: Duration,
    /// What becomes of a document in the cache when it is written.
    pub write: WriteMode,
    /// For how long acknowledged invalidations are remembered against a failover of Redis.
    pub failover_window: Duration,
    /// The memory one collection's near tier may use.
    pub near_max_bytes: u64,
    /// The largest document that is cached.
    pub max_entry_bytes: u64,
    /// Compress in Redis from this size on.
    pub compress_above_bytes: u64,
    /// The most time one load may take.
    pub load_deadline: Duration,
    /// How long a reader waits for a load when there is something stale.
    pub soft_deadline: Option<Duration>,
    /// The beta with which hits refresh a document before it expires.
    pub refresh_ahead: Option<f64>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            lists_ttl: Duration::ZERO,
            jitter: 0.1,
            negative_ttl: Duration::from_secs(5),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(600),
            near_ttl: None,
            hot_near_ttl: None,
            hot_replicas: 1,
            consistency: ConsistencyMode::Bounded,
            consistency_bound: Duration::from_secs(1),
            write: WriteMode::Around,
            failover_window: Duration::from_secs(30),
            near_max_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            compress_above_bytes: 4 << 10,
            load_deadline: Duration::from_secs(5),
            soft_deadline: None,
            refresh_ahead: None,
        }
    }
}

/// The word for a [`Consistency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsistencyMode {
    Local,
    Bounded,
    Strict,
}

/// What becomes of a document in the cache when it is written: it is forgotten, or replaced by the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMode {
    Around,
    Through,
}

impl CacheSettings {
    /// The library's consistency for these settings.
    pub(crate) fn consistency(&self) -> Consistency {
        match self.consistency {
            ConsistencyMode::Local => Consistency::Local,
            ConsistencyMode::Bounded => Consistency::Bounded(self.consistency_bound),
            ConsistencyMode::Strict => Consistency::Strict(self.consistency_bound),
        }
    }

    /// The library's policy for documents.
    pub(crate) fn policy(&self) -> Policy {
        let policy = self.policy_of(self.ttl, self.near_ttl);
        match self.hot_near_ttl {
            Some(hot_near_ttl) => policy.hot_near_ttl(hot_near_ttl),
            None => policy,
        }
    }

    /// The library's policy for lists, if they are cached.
    pub(crate) fn list_policy(&self) -> Option<Policy> {
        let near_ttl = self.near_ttl.map(|near_ttl| near_ttl.min(self.lists_ttl));
        (!self.lists_ttl.is_zero()).then(|| self.policy_of(self.lists_ttl, near_ttl))
    }

    fn policy_of(&self, ttl: Duration, near_ttl: Option<Duration>) -> Policy {
        let policy = Policy::ttl(ttl)
            .jitter(self.jitter)
            .negative_ttl(self.negative_ttl)
            .stale_while_revalidate(self.stale_while_revalidate)
            .stale_if_error(self.stale_if_error)
            .max_entry_bytes(self.max_entry_bytes as usize)
            .compress_above_bytes(Some(self.compress_above_bytes as usize))
            .load_deadline(self.load_deadline);
        let policy = match near_ttl {
            Some(near_ttl) => policy.near_ttl(near_ttl),
            None => policy,
        };
        let policy = match self.soft_deadline {
            Some(deadline) => policy.soft_deadline(deadline),
            None => policy,
        };
        match self.refresh_ahead {
            Some(beta) => policy.refresh_ahead(beta),
            None => policy,
        }
    }
}

/// Reads `[cache]`.
pub(super) fn read_defaults(mut table: Reader<'_>) -> CacheSettings {
    let settings = read_onto(&mut table, &CacheSettings::default());
    table.finish();
    settings
}

/// Reads the cache settings of one table; what it does not set stays as in `base`.
pub(super) fn read_onto(table: &mut Reader<'_>, base: &CacheSettings) -> CacheSettings {
    let settings = CacheSettings {
        ttl: table.get("ttl", base.ttl),
        lists_ttl: table.get("lists_ttl", base.lists_ttl),
        jitter: table.get("jitter", base.jitter),
        negative_ttl: table.get("negative_ttl", base.negative_ttl),
        stale_while_revalidate: table.get("stale_while_revalidate", base.stale_while_revalidate),
        stale_if_error: table.get("stale_if_error", base.stale_if_error),
        near_ttl: table.find("near_ttl").or(base.near_ttl),
        hot_near_ttl: table.find("hot_near_ttl").or(base.hot_near_ttl),
        hot_replicas: table.get("hot_replicas", base.hot_replicas),
        consistency: table.get("consistency", base.consistency),
        consistency_bound: table.get("consistency_bound", base.consistency_bound),
        write: table.get("write", base.write),
        failover_window: table.get("failover_window", base.failover_window),
        near_max_bytes: table.get("near_max_bytes", ByteSize(base.near_max_bytes)).0,
        max_entry_bytes: table.get("max_entry_bytes", ByteSize(base.max_entry_bytes)).0,
        compress_above_bytes: table.get("compress_above_bytes", ByteSize(base.compress_above_bytes)).0,
        load_deadline: table.get("load_deadline", base.load_deadline),
        soft_deadline: table.find("soft_deadline").or(base.soft_deadline),
        refresh_ahead: table.find("refresh_ahead").or(base.refresh_ahead),
    };
    if !(Duration::from_millis(20)..=Duration::from_secs(60)).contains(&settings.consistency_bound) {
        table.report("consistency_bound", "must be between 20ms and 60s");
    }
    if !(1..=MOST_REPLICAS).contains(&settings.hot_replicas) {
        table.report("hot_replicas", "must be between 1 and 16");
    }
    if settings.hot_near_ttl.is_some() && settings.consistency == ConsistencyMode::Local {
        table.report("hot_near_ttl", "needs bounded or strict consistency");
    }
    // What a collection takes over has been checked where it stands.
    if settings != *base {
        check_policies(&settings, table);
    }
    settings
}

fn check_policies(settings: &CacheSettings, table: &mut Reader<'_>) {
    if let Err(error) = settings.policy().check() {
        table.report(error.field().unwrap_or("ttl"), error.message());
    } else if let Some(Err(error)) = settings.list_policy().map(|policy| policy.check()) {
        table.report("lists_ttl", error.message());
    }
}
