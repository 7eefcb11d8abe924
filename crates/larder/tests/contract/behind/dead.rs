//! Writes that the database refuses: retries, dead letters, and what is done about them.

use std::time::Duration;

use larder::cache::Replayed;
use larder_testkit::eventually;

use super::{SOON, node, quick, read, table::Table, until_read};
use crate::setup::{Backend, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_writes_are_tried_for_ever() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().attempts(1)).await;
        table.set_away(true);
        cache.put(&"k".into(), &1).await.unwrap();
        eventually("it is tried again and again", SOON, || async { table.begun() >= 5 }).await;
        assert_eq!(cache.behind().unwrap().dead_letters(10).await.unwrap(), [], "{backend:?}");
        table.set_away(false);
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("k"), Some(1), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_database_refuses_becomes_a_dead_letter_and_holds_up_nobody() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().attempts(3)).await;
        let behind = cache.behind().unwrap();
        table.refuse("bad");
        cache.put(&"bad".into(), &1).await.unwrap();
        for n in 0..40_u64 {
            cache.put(&n.to_string(), &n).await.unwrap();
        }
        behind.flush().await.unwrap();
        assert_eq!(table.rows().len(), 40, "{backend:?}");
        let letters = behind.dead_letters(10).await.unwrap();
        let [letter] = &letters[..] else { panic!("{backend:?}: {letters:?}") };
        assert_eq!((&*letter.key, letter.removes, letter.attempts), ("bad", false, 3), "{backend:?}");
        assert!(letter.error.contains("does not take this"), "{backend:?}: {}", letter.error);
        assert_eq!(behind.stats().await.unwrap().dead_letters, 1, "{backend:?}");
        assert_eq!(read(&cache, "bad").await, Some(1), "{backend:?}: it was acknowledged");

        table.accept("bad");
        assert_eq!(behind.replay("bad").await.unwrap(), Replayed::Pending, "{backend:?}");
        assert_eq!(behind.replay("bad").await.unwrap(), Replayed::Gone, "{backend:?}: only once");
        behind.flush().await.unwrap();
        assert_eq!(table.row("bad"), Some(1), "{backend:?}");
        assert_eq!(behind.stats().await.unwrap().dead_letters, 0, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_letter_gives_way_to_what_the_database_has_on_every_node() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let settings = quick().attempts(1);
        let (a, b) = (node(&setup, &table, settings.clone()).await, node(&setup, &table, settings).await);
        a.put(&"k".into(), &1).await.unwrap();
        a.behind().unwrap().flush().await.unwrap();
        table.refuse("k");
        a.remove(&"k".into()).await.unwrap();
        a.behind().unwrap().flush().await.unwrap();
        until_read(&b, "k", None).await;
        assert!(a.behind().unwrap().dead_letters(1).await.unwrap()[0].removes, "{backend:?}");
        assert!(a.behind().unwrap().discard("k").await.unwrap(), "{backend:?}");
        assert_eq!(read(&a, "k").await, Some(1), "{backend:?}");
        until_read(&b, "k", Some(1)).await;
        assert!(!a.behind().unwrap().discard("k").await.unwrap(), "{backend:?}: only once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_never_overwrites_a_later_write() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().attempts(1)).await;
        let behind = cache.behind().unwrap();
        table.refuse("k");
        cache.put(&"k".into(), &1).await.unwrap();
        behind.flush().await.unwrap();
        table.accept("k");
        table.hold();
        cache.put(&"k".into(), &2).await.unwrap();
        assert_eq!(
            behind.replay("k").await.unwrap(),
            Replayed::Superseded,
            "{backend:?}: while it is pending"
        );
        table.release();
        behind.flush().await.unwrap();
        assert_eq!((table.row("k"), read(&cache, "k").await), (Some(2), Some(2)), "{backend:?}");

        table.refuse("k");
        cache.put(&"k".into(), &3).await.unwrap();
        behind.flush().await.unwrap();
        assert_eq!(behind.stats().await.unwrap().dead_letters, 1, "{backend:?}");
        table.accept("k");
        cache.put(&"k".into(), &4).await.unwrap();
        behind.flush().await.unwrap();
        assert_eq!(
            behind.replay("k").await.unwrap(),
            Replayed::Gone,
            "{backend:?}: struck off by the later write"
        );
        assert_eq!(table.row("k"), Some(4), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_cut_off_and_asked_again() {
    for backend in Backend::SHARED {
        let (setup, table) = (Setup::new(backend), Table::new());
        let cache = node(&setup, &table, quick().apply_deadline(Duration::from_millis(20)).attempts(1)).await;
        table.hold();
        cache.put(&"k".into(), &1).await.unwrap();
        eventually("it is asked again", SOON, || async { table.begun() >= 3 }).await;
        table.release();
        cache.behind().unwrap().flush().await.unwrap();
        assert_eq!(table.row("k"), Some(1));
        assert_eq!(cache.behind().unwrap().stats().await.unwrap().dead_letters, 0);
    }
}
