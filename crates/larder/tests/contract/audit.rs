//! Comparing what is served with what the source has.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, ErrorKind, Result,
    cache::{Audit, AuditRules, AuditStats, WriteBehind},
    source::Source,
};
use larder_testkit::eventually;
use tokio::time::Instant;

use crate::setup::{Backend, Setup, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);
/// What the source has of a key that is gone.
const GONE: u64 = 0;

/// What a load of this number does; the key of a cache that it gives is invalidated.
type Act = dyn Fn(u64) -> Option<Cache<String, u64>> + Send + Sync;

/// A row that tests write past the cache, and what its loads do beside answering.
#[derive(Clone, Default)]
struct Row {
    number: Arc<AtomicU64>,
    loads: Arc<AtomicU64>,
    on_load: Arc<OnceLock<Box<Act>>>,
}

impl Row {
    fn of(number: u64) -> Self {
        Self { number: Arc::new(number.into()), ..Self::default() }
    }

    fn write(&self, number: u64) {
        self.number.store(number, SeqCst);
    }

    /// Before the load of this number (the cache's own is the first) answers, this is called; the key of a cache that it
    /// gives is invalidated.
    fn on_load(&self, act: impl Fn(u64) -> Option<Cache<String, u64>> + Send + Sync + 'static) {
        assert!(self.on_load.set(Box::new(act)).is_ok(), "once");
    }
}

impl Source<String, u64> for Row {
    async fn load(&self, _key: &String) -> Result<Option<u64>> {
        let load = self.loads.fetch_add(1, SeqCst) + 1;
        let cache = self.on_load.get().and_then(|act| act(load));
        let number = self.number.load(SeqCst);
        if let Some(cache) = cache {
            cache.invalidate(KEY).await?;
        }
        Ok(Some(number).filter(|number| *number != GONE))
    }
}

fn rules() -> AuditRules {
    AuditRules::default().every(Duration::from_millis(10)).settle(Duration::from_millis(30))
}

/// Reads the key until the audit has found that.
async fn until(cache: &Cache<String, u64>, audit: &Audit, found: impl Fn(&AuditStats) -> bool) -> AuditStats {
    eventually("the audit finds it", SOON, || async {
        cache.get(KEY).await.expect("the source answers");
        found(&audit.stats())
    })
    .await;
    audit.stats()
}

async fn cached(setup: &Setup, row: &Row) -> Cache<String, u64> {
    let cache = setup.builder(lasting()).await.source(row.clone()).build().unwrap();
    cache.get(KEY).await.unwrap();
    cache
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_and_never_told_is_stale_and_its_age_is_known() {
    for backend in Backend::ALL {
        for changed in [2, GONE] {
            let (setup, row) = (Setup::new(backend), Row::of(1));
            let cache = cached(&setup, &row).await;
            let audit = cache.audit(&rules()).unwrap();
            let sound = until(&cache, &audit, |found| found.same >= 3).await;
            assert_eq!((sound.stale, sound.failed), (0, 0), "{backend:?}: {sound:?}");
            row.write(changed);
            setup.clock.advance(Duration::from_secs(30));
            let found = until(&cache, &audit, |found| found.stale >= 1).await;
            assert_eq!(found.oldest_stale, Duration::from_secs(30), "{backend:?}: {found:?}");
            assert_eq!(found.stale_ages, [0, 0, 1, 1, 1, 1].map(|up_to| up_to * found.stale), "{found:?}");
            cache.invalidate(KEY).await.unwrap();
            let same = audit.stats().same;
            until(&cache, &audit, |found| found.same > same).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_on_its_way_is_not_stale() {
    for backend in Backend::ALL {
        let (setup, row) = (Setup::new(backend), Row::of(1));
        let cache = cached(&setup, &row).await;
        row.on_load({
            let (number, cache) = (row.number.clone(), cache.clone());
            // The audit's first load finds the change, and while it looks again the invalidation arrives.
            move |load| {
                number.store(2, SeqCst);
                (load == 3).then(|| cache.clone())
            }
        });
        let audit = cache.audit(&rules()).unwrap();
        let found = until(&cache, &audit, |found| found.checked() >= 3).await;
        assert_eq!((found.stale, found.caught_up), (0, 1), "{backend:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_takes_a_change_back_leaves_nothing_stale() {
    let (setup, row) = (Setup::new(Backend::Memory), Row::of(1));
    let cache = cached(&setup, &row).await;
    row.on_load({
        let number = row.number.clone();
        move |load| {
            number.store(if load == 2 { 2 } else { 1 }, SeqCst);
            None
        }
    });
    let audit = cache.audit(&rules()).unwrap();
    let found = until(&cache, &audit, |found| found.checked() >= 3).await;
    assert_eq!((found.stale, found.caught_up), (0, 1), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_checked_in_a_turn_however_much_is_read_and_none_after_the_end() {
    let (setup, row) = (Setup::new(Backend::Memory), Row::of(1));
    let cache = cached(&setup, &row).await;
    let turn = Duration::from_millis(60);
    let begun = Instant::now();
    let audit = cache.audit(&AuditRules::default().every(turn)).unwrap();
    until(&cache, &audit, |found| found.same >= 5).await;
    assert!(begun.elapsed() >= turn * 4, "{:?} for five", begun.elapsed());
    let loads = row.loads.load(SeqCst);
    assert!(
        loads <= 1 + audit.stats().same + 1,
        "{loads}: the cache's own, one for each check, one under way"
    );
    drop(audit);
    let (ended, loads) = (Instant::now(), row.loads.load(SeqCst));
    eventually("three turns pass", SOON, || async {
        cache.get(KEY).await.unwrap();
        ended.elapsed() >= turn * 3
    })
    .await;
    assert!(row.loads.load(SeqCst) <= loads + 1, "but for one that was under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_which_nothing_could_be_told_is_refused() {
    let setup = Setup::new(Backend::Redis);
    let refused = |built: Result<Audit>| built.unwrap_err().kind() == ErrorKind::Config;
    let bare = setup.node(lasting()).await;
    assert!(refused(bare.audit(&rules())), "it has no source");
    let sound = setup.builder(lasting()).await.source(Row::of(1)).build().unwrap();
    assert!(refused(sound.audit(&AuditRules::default().every(Duration::from_millis(9)))), "too fast");
    let behind = setup
        .builder(lasting())
        .await
        .source(Row::of(1))
        .sink(Nowhere)
        .write_behind(WriteBehind::default())
        .build()
        .unwrap();
    assert!(refused(behind.audit(&rules())), "it is ahead of its source");
}

struct Nowhere;

impl larder::source::Sink<String, u64> for Nowhere {
    async fn put(&self, _key: &String, _value: &u64) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, _key: &String) -> Result<()> {
        Ok(())
    }
}
