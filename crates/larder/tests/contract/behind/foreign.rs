//! What Larder did not write, among what it did.

use std::num::NonZeroU16;

use larder::ErrorKind;
use larder_testkit::eventually;
use tokio::time::timeout;

use super::{SOON, node, quick, read, table::Table, until_taken};
use crate::setup::{Backend, Setup, lasting};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_operation_holds_no_operation_up_and_is_not_counted_as_one() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let cache = builder.shards(NonZeroU16::MIN).write_behind(quick().max_batch(2)).build().unwrap();
        let behind = cache.behind().unwrap();
        let stream = format!("{{larder.{}.00}}:v1:wb", setup.name);
        table.hold();
        // More than a batch, before all others.
        for n in 1..=5_u64 {
            setup.ask(&["XADD", &stream, &format!("{n}-0"), "somebody", "else"]);
        }
        cache.put(&"a".into(), &1).await.unwrap();
        cache.put(&"b".into(), &2).await.unwrap();
        // One that lacks something, and one with the second id of its version, after all others.
        setup.ask(&["XADD", &stream, "*", "p", "", "k", "c"]);
        setup.ask(&["XADD", &stream, "*", "k", "a", "e", ""]);
        assert!(behind.stats().await.unwrap().backlog >= 2, "{backend:?}");
        table.release();
        timeout(SOON, behind.flush()).await.expect("it ends").unwrap();
        assert_eq!(table.rows(), [("a".to_owned(), 1), ("b".to_owned(), 2)].into(), "{backend:?}");
        until_taken(&cache, 2).await;
        assert_eq!(behind.stats().await.unwrap().backlog, 0, "{backend:?}");
        eventually("each is counted once", SOON, || async { cache.stats().corrupt == 7 }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_damaged_hides_no_other_and_can_be_discarded() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().attempts(1)).await;
        let behind = cache.behind().unwrap();
        for key in ["a", "b"] {
            table.refuse(key);
            cache.put(&key.into(), &1).await.unwrap();
        }
        behind.flush().await.unwrap();
        // In one of the shards this is where the letter of `b` is, and in another that of `never`.
        for shard in 0..16 {
            let letters = format!("{{larder.{}.{shard:02}}}:v1:wb:dlq", setup.name);
            for key in ["b", "never"] {
                setup.ask(&["HSET", &letters, key, "no letter"]);
            }
        }
        let letters = behind.dead_letters(10).await.unwrap();
        let mut seen: Vec<_> = letters.iter().map(|it| (it.key.as_str(), it.is_damaged)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [("a", false), ("b", true), ("never", true)], "{backend:?}");
        assert_eq!(behind.replay("b").await.unwrap_err().kind(), ErrorKind::Corrupt, "{backend:?}");
        assert_eq!(read(&cache, "b").await, Some(1), "{backend:?}: it was acknowledged");

        assert!(behind.discard("b").await.unwrap(), "{backend:?}");
        assert_eq!(read(&cache, "b").await, None, "{backend:?}: what the database has");
        assert!(behind.discard("never").await.unwrap(), "{backend:?}");
        assert!(!behind.discard("never").await.unwrap(), "{backend:?}: only once");
        let left = behind.dead_letters(10).await.unwrap();
        assert_eq!(left.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a"], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_discard_a_damaged_letter_leaves_a_later_write_alone() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
        let cache = builder.shards(NonZeroU16::MIN).write_behind(quick().attempts(1)).build().unwrap();
        let behind = cache.behind().unwrap();
        table.refuse("k");
        cache.put(&"k".into(), &1).await.unwrap();
        behind.flush().await.unwrap();
        setup.ask(&["HSET", &format!("{{larder.{}.00}}:v1:wb:dlq", setup.name), "k", "no letter"]);
        table.accept("k");
        table.hold();
        cache.put(&"k".into(), &2).await.unwrap();
        assert!(behind.discard("k").await.unwrap(), "{backend:?}");
        assert_eq!(read(&cache, "k").await, Some(2), "{backend:?}: it is pending");
        table.release();
        timeout(SOON, behind.flush()).await.expect("it ends").unwrap();
        assert_eq!(table.row("k"), Some(2), "{backend:?}");
    }
}
