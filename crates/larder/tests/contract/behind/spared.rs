//! Invalidations of what is pending: it is spared. But between the moment when the database has it and the one when Redis knows, they
//! may be about something newer.

use std::time::Duration;

use larder::{
    Cache,
    cache::{ReadOptions, Served},
};
use larder_testkit::eventually;

use super::{SOON, quick, read, table::Table};
use crate::setup::{Backend, Setup, lasting};

const WINDOW: Duration = Duration::from_secs(60);

/// How a program tells the cache that it has written to the database.
#[derive(Clone, Copy, Debug)]
enum Word {
    Key,
    Softly,
    Pattern,
    Tag,
    Clear,
    Guarded,
}

impl Word {
    const ALL: [Self; 6] = [Self::Key, Self::Softly, Self::Pattern, Self::Tag, Self::Clear, Self::Guarded];

    /// Writes the row past the cache, and says so.
    async fn write(self, cache: &Cache<String, u64>, table: &Table, key: &str, value: u64) {
        if let Self::Guarded = self {
            let write = async {
                table.write_past(key, value);
                Ok(())
            };
            cache.guarded_write(&[key], write).await.unwrap().1.unwrap();
            return;
        }
        table.write_past(key, value);
        match self {
            Self::Key => drop(cache.invalidate(key).await.unwrap()),
            Self::Softly => drop(cache.expire(&[key]).await.unwrap()),
            Self::Pattern => drop(cache.invalidate_pattern("k*").await.unwrap()),
            Self::Tag => drop(cache.invalidate_tag("red").await.unwrap()),
            Self::Clear => drop(cache.clear().await.unwrap()),
            Self::Guarded => unreachable!("it is above"),
        }
    }
}

async fn node(setup: &Setup, table: &Table) -> Cache<String, u64> {
    let policy = lasting().stale_while_revalidate(WINDOW).stale_if_error(WINDOW);
    let builder = setup.builder(policy).await.source(table.clone()).sink(table.clone());
    builder.tags(|_, _| vec!["red".into()]).write_behind(quick()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_served_near_though_its_tag_was_purged_before() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table).await;
        cache.invalidate_tag("red").await.unwrap();
        table.set_away(true);
        cache.put(&"k".into(), &1).await.unwrap();
        eventually("it is near", SOON, || async {
            let read = cache.read("k", &ReadOptions::default()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&1));
            read.served == Served::Near
        })
        .await;
        table.set_away(false);
    }
}

/// What a node serves as fresh; `None` also for what is marked as stale.
async fn fresh(node: &Cache<String, u64>, key: &str) -> Option<u64> {
    let read = node.read(key, &ReadOptions::default()).await.unwrap();
    read.value.as_deref().copied().filter(|_| !read.stale)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_writes_before_redis_knows_what_the_database_has_is_read_soon() {
    for (backend, word) in Backend::SHARED.into_iter().flat_map(|it| Word::ALL.map(|word| (it, word))) {
        let (setup, table) = (Setup::new(backend), Table::new());
        let nodes = [node(&setup, &table).await, node(&setup, &table).await];
        table.set_silent(true);
        nodes[0].put(&"k".into(), &1).await.unwrap();
        eventually("the database has it", SOON, || async { table.row("k") == Some(1) }).await;
        word.write(&nodes[0], &table, "k", 2).await;
        for node in &nodes {
            assert_eq!(read(node, "k").await, Some(1), "{backend:?}: {word:?}: it is pending");
        }
        table.set_silent(false);
        nodes[0].behind().unwrap().flush().await.unwrap();
        for node in &nodes {
            let what = format!("{backend:?}: after {word:?} a node reads what the database has");
            eventually(&what, SOON, || async { fresh(node, "k").await == Some(2) }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spared_once_is_kept_the_next_time() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table).await;
        table.hold();
        cache.put(&"k".into(), &1).await.unwrap();
        cache.invalidate("k").await.unwrap();
        table.release();
        let behind = cache.behind().unwrap();
        behind.flush().await.unwrap();
        cache.put(&"k".into(), &2).await.unwrap();
        behind.flush().await.unwrap();
        let loads = cache.stats().loads;
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}");
        assert_eq!(cache.stats().loads, loads, "{backend:?}: from Redis");
    }
}
