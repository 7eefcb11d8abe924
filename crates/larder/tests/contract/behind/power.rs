//! What the death of the machine that Redis runs on takes with it, by its settings: of the append-only file what was not synced.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{
    Cache,
    cache::{ReadOptions, WriteBehind},
};
use larder_testkit::{
    eventually, lasting,
    redis::{Deployment, Fsync, Options},
};
use tokio::task::{JoinSet, block_in_place};

use super::{
    SOON, durability::handed_to_the_kernel, faults::connected, quick, until_read, versioned::Versioned,
};

const NODES: usize = 2;
/// So often a key is written, and then never again: no later write hides that one was lost.
const WRITES_OF_A_KEY: u64 = 3;
const PACE: Duration = Duration::from_millis(4);
/// The longest that there is: nobody asks in vain while the database is away.
const LATE: Duration = Duration::from_secs(10);
/// So many acknowledged writes mean something.
const ENOUGH: u64 = 100;
/// What is written meanwhile is lost, unless it is synced.
const A_WHILE: Duration = Duration::from_millis(200);
/// With a sync a second, what was acknowledged so long ago is on the disk: the second, as much again, and some time for a machine
/// that is busy.
const SYNCED_WITHIN: Duration = Duration::from_secs(3);

/// Several nodes with the same cache over the same rows.
struct Nodes {
    rows: Versioned,
    caches: Vec<Cache<String, u64>>,
}

impl Nodes {
    async fn start(deployment: &Deployment, name: &str, settings: WriteBehind) -> Self {
        let rows = Versioned::default();
        let mut caches = Vec::new();
        for _ in 0..NODES {
            let redis = connected(&deployment.url(), Duration::from_secs(2)).await;
            let builder = Cache::builder(name).policy(crate::setup::lasting()).redis(&redis);
            let builder = builder.source(rows.clone()).sink(rows.clone());
            caches.push(builder.write_behind(settings.clone()).build().unwrap());
        }
        Self { rows, caches }
    }

    async fn flushed(&self) {
        for cache in &self.caches {
            eventually("everything is flushed", SOON, || async {
                cache.behind().unwrap().flush().await.is_ok()
            })
            .await;
        }
    }

    /// All nodes read what the rows have, and go on.
    async fn agree(&self, keys: impl Iterator<Item = &String>) {
        self.flushed().await;
        for key in keys {
            let row = self.rows.row(key);
            for cache in &self.caches {
                eventually("the node reads what the database has", SOON, || async {
                    let read = cache.read(key, &ReadOptions::default()).await;
                    read.is_ok_and(|read| read.value.as_deref().copied() == row)
                })
                .await;
            }
        }
        for (n, cache) in (0..).zip(&self.caches) {
            cache.put(&"new".into(), &n).await.unwrap();
            self.flushed().await;
            assert_eq!(self.rows.row("new"), Some(n));
            for cache in &self.caches {
                until_read(cache, "new", Some(n)).await;
            }
        }
    }
}

/// What was written to each key, one after another, and when it was acknowledged.
type Written = BTreeMap<String, Vec<(u64, Option<Instant>)>>;

/// What all writers have in common.
#[derive(Default)]
struct Writing {
    is_over: AtomicBool,
    acked: AtomicU64,
}

/// Alone at its keys. Both nodes read what is written, so that they have near copies.
async fn write_on_and_on(nodes: Vec<Cache<String, u64>>, writer: usize, writing: Arc<Writing>) -> Written {
    let mut written = Written::new();
    for n in 1_u64.. {
        if writing.is_over.load(SeqCst) {
            break;
        }
        let key = format!("{writer}-{}", n / WRITES_OF_A_KEY);
        let acked = nodes[writer].put(&key, &n).await.is_ok();
        written.entry(key.clone()).or_default().push((n, acked.then(Instant::now)));
        writing.acked.fetch_add(u64::from(acked), SeqCst);
        for node in &nodes {
            let _ = node.get(&key).await;
        }
        lasting(PACE).await;
    }
    written
}

/// What there was to lose, and what was lost.
struct Death {
    died: Instant,
    lost_bytes: u64,
    written: Written,
}

/// Nodes write for some time, then what comes last is waited for, the machines of Redis die, and everything is started again.
async fn die_after(
    deployment: &Deployment,
    nodes: &[&Nodes],
    time: Duration,
    last: impl Future<Output = ()>,
) -> Vec<Death> {
    let writing = Arc::<Writing>::default();
    let mut writers = Vec::new();
    for nodes in nodes {
        let mut of_cache = JoinSet::new();
        for writer in 0..NODES {
            of_cache.spawn(write_on_and_on(nodes.caches.clone(), writer, Arc::clone(&writing)));
        }
        writers.push(of_cache);
    }
    lasting(time).await;
    eventually("much is written", SOON, || async { writing.acked.load(SeqCst) >= ENOUGH }).await;
    last.await;
    let died = Instant::now();
    let lost_bytes = block_in_place(|| deployment.lose_power());
    writing.is_over.store(true, SeqCst);
    block_in_place(|| deployment.restart());
    let mut deaths = Vec::new();
    for of_cache in writers {
        let written = of_cache.join_all().await.into_iter().flatten().collect();
        deaths.push(Death { died, lost_bytes, written });
    }
    deaths
}

impl Death {
    /// What was acknowledged at least so long before must be there, and of each key nothing but what was written. Returns how many
    /// acknowledged writes are not there, nor a later one of their keys.
    fn judge(&self, rows: &Versioned, window: Duration) -> usize {
        let mut lost = Vec::new();
        for (key, written) in &self.written {
            let row = rows.row(key);
            assert!(row.is_none_or(|row| written.iter().any(|(value, _)| *value == row)), "{key}: {row:?}");
            let acked = written.iter().filter_map(|(value, acked)| Some((*value, (*acked)?)));
            lost.extend(acked.filter(|(value, _)| row < Some(*value)).map(|(_, acked)| acked));
        }
        for acked in &lost {
            let age = self.died.saturating_duration_since(*acked);
            assert!(age < window, "what was acknowledged {age:?} before is lost");
        }
        lost.len()
    }
}

/// The database is back, and all nodes of both caches read what it has.
async fn agree_after(deaths: &[Death], pending: &Nodes, carried_out: &Nodes) {
    pending.rows.set_away(false);
    for (nodes, death) in [pending, carried_out].into_iter().zip(deaths) {
        nodes.agree(death.written.keys()).await;
    }
}

/// Runs a test on one server and on a cluster, at the same time: most of it is waiting.
async fn on_each<F: Future<Output = ()> + Send + 'static>(fsync: Fsync, test: impl Fn(Deployment) -> F) {
    let options = Options { append_only: true, fsync, may_lose_power: true, ..Options::default() };
    let mut runs = JoinSet::new();
    for deployment in Deployment::each(&options) {
        runs.spawn(test(deployment));
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_sync_for_each_write_the_death_of_a_machine_takes_no_acknowledged_write_with_it() {
    on_each(Fsync::Always, async |deployment| {
        let pending = Nodes::start(&deployment, "pending", quick().max_delay(LATE)).await;
        pending.rows.set_away(true);
        let time = Duration::from_millis(400);
        let deaths = die_after(&deployment, &[&pending], time, ready(())).await;
        pending.rows.set_away(false);
        pending.agree(deaths[0].written.keys()).await;
        assert_eq!(deaths[0].judge(&pending.rows, Duration::ZERO), 0);
    })
    .await;
}

/// One cache whose database is away, so that only Redis has what is acknowledged, and one whose database takes everything: what
/// Redis forgets of it is in the database, and older operations are pending again.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_sync_a_second_the_death_of_a_machine_takes_the_last_seconds_with_it_and_nothing_else() {
    on_each(Fsync::EverySecond, async |deployment| {
        let pending = Nodes::start(&deployment, "pending", quick().max_delay(LATE)).await;
        let carried_out = Nodes::start(&deployment, "carried-out", quick()).await;
        pending.rows.set_away(true);
        // Otherwise the last sync may have had everything.
        let busy = async {
            deployment.set_disks_busy(true);
            lasting(A_WHILE).await;
        };
        let deaths = die_after(&deployment, &[&pending, &carried_out], SYNCED_WITHIN, busy).await;
        agree_after(&deaths, &pending, &carried_out).await;
        assert!(deaths[0].lost_bytes > 0, "the disk had everything");
        assert!(deaths[0].judge(&pending.rows, SYNCED_WITHIN) > 0, "nothing was lost");
        deaths[1].judge(&carried_out.rows, SYNCED_WITHIN);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_syncs_the_death_of_a_machine_takes_what_its_system_had_not_written_and_nothing_else() {
    on_each(Fsync::Never, async |deployment| {
        let pending = Nodes::start(&deployment, "pending", quick().max_delay(LATE)).await;
        let carried_out = Nodes::start(&deployment, "carried-out", quick()).await;
        pending.rows.set_away(true);
        let mut written = None;
        let system = async {
            let begun = Instant::now();
            deployment.write_buffers();
            written = Some(begun);
            lasting(A_WHILE).await;
        };
        let deaths = die_after(&deployment, &[&pending, &carried_out], A_WHILE, system).await;
        let window = deaths[0].died - written.unwrap();
        agree_after(&deaths, &pending, &carried_out).await;
        assert!(deaths[0].judge(&pending.rows, window) > 0, "nothing was lost");
        deaths[1].judge(&carried_out.rows, window);
    })
    .await;
}

/// The database has a later write than Redis, which has lost that, and that an older one was carried out.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_pending_again_hides_no_later_one_that_the_database_has() {
    on_each(Fsync::EverySecond, async |deployment| {
        let nodes = Nodes::start(&deployment, "again", quick()).await;
        let key = "k".to_owned();
        nodes.rows.set_away(true);
        nodes.caches[0].put(&key, &1).await.unwrap();
        handed_to_the_kernel(&deployment).await;
        eventually("the disk has it", SOON, || async { deployment.unsynced() == 0 }).await;
        deployment.set_disks_busy(true);
        nodes.rows.set_away(false);
        nodes.flushed().await;
        nodes.caches[1].put(&key, &2).await.unwrap();
        nodes.flushed().await;
        nodes.rows.set_away(true);
        block_in_place(|| {
            deployment.lose_power();
            deployment.restart();
        });
        for cache in &nodes.caches {
            eventually("the older one is pending again", SOON, || async {
                let read = cache.read(&key, &ReadOptions::default()).await;
                read.is_ok_and(|read| read.value.as_deref() == Some(&1))
            })
            .await;
        }
        nodes.rows.set_away(false);
        nodes.agree([&key].into_iter()).await;
        assert_eq!(nodes.rows.row(&key), Some(2));
    })
    .await;
}
