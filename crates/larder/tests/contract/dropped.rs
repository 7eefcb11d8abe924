//! Callers that go away: each call is dropped after every number of wake-ups that it takes, and nothing is left behind.
//!
//! On one thread, so that nothing goes on while a call is polled and each of its waits is one.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use bson::doc;
use larder::{
    Cache,
    cache::{ReadOptions, Served, WriteBehind},
    document::{Collection, Database, Filter, Find, Id, IdType, Schema},
};
use larder_testkit::eventually;
use tokio::time::timeout;

use crate::{
    behind::Table,
    setup::{Backend, Origin, Setup, lasting},
};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(5);
/// No call takes so many wake-ups.
const MOST_WAKES: usize = 200;

/// Runs a call until it has been woken so many times, and drops it where it stands then. `None` if it was not done.
async fn until_woken<T>(call: impl Future<Output = T>, wakes: usize) -> Option<T> {
    let mut call = pin!(call);
    let mut woken = 0;
    // Nothing else wakes this task.
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if woken == wakes => Poll::Ready(None),
        Poll::Pending => {
            woken += 1;
            Poll::Pending
        }
    })
    .await
}

/// Runs a test with 0, 1, 2 ... wake-ups until it says that the call was done before.
async fn at_any_wake_up(test: impl AsyncFn(usize) -> bool) {
    for wakes in 0..MOST_WAKES {
        if test(wakes).await {
            assert!(wakes > 0, "a call that never waits cannot be dropped");
            return;
        }
    }
    panic!("the call is never done");
}

/// The nodes that ask the source for the same key: in process each has a cache of its own.
fn loads_of_two_nodes(backend: Backend) -> usize {
    if backend == Backend::Memory { 2 } else { 1 }
}

#[tokio::test]
async fn a_caller_dropped_at_any_poll_leaves_nothing_behind() {
    for backend in Backend::ALL {
        at_any_wake_up(async |wakes| {
            let setup = Setup::new(backend);
            let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
            let origin = Origin::open(1);
            let done = until_woken(a.get_with(KEY, origin.loader()), wakes).await;
            let other = timeout(Duration::from_secs(2), b.get_with(KEY, origin.loader())).await;
            let other = other.expect("no lease is left that nobody has").unwrap();
            assert_eq!(other.as_deref(), Some(&1));
            assert_eq!(a.get_with(KEY, origin.loader()).await.unwrap().as_deref(), Some(&1));
            let loads = loads_of_two_nodes(backend);
            assert_eq!(origin.reads(), loads, "{backend:?}: after {wakes} wake-ups nothing is loaded twice");
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_batch_dropped_at_any_poll_leaves_nothing_behind() {
    for backend in Backend::ALL {
        at_any_wake_up(async |wakes| {
            let setup = Setup::new(backend);
            let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
            let keys: Vec<String> = (0..20).map(|number| number.to_string()).collect();
            let asked = Arc::new(Mutex::new(Vec::new()));
            let load = {
                let asked = asked.clone();
                move |keys: Vec<String>| {
                    asked.lock().unwrap().extend(keys.clone());
                    async move { Ok(vec![Some(1); keys.len()]) }
                }
            };
            let done = until_woken(a.get_many_with(&keys, load.clone()), wakes).await;
            let other = timeout(Duration::from_secs(2), b.get_many_with(&keys, load.clone())).await;
            let others = [
                other.expect("no lease is left that nobody has").unwrap(),
                a.get_many_with(&keys, load).await.unwrap(),
            ];
            assert!(others.concat().iter().all(|value| value.as_deref() == Some(&1)));
            let loads = loads_of_two_nodes(backend) * keys.len();
            let asked = asked.lock().unwrap().len();
            assert_eq!(asked, loads, "{backend:?}: after {wakes} wake-ups nothing is loaded twice");
            done.is_some()
        })
        .await;
    }
}

async fn served(cache: &Cache<String, u64>, origin: &Origin) -> (Option<u64>, Served) {
    let read = cache.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
    (read.value.as_deref().copied(), read.served)
}

#[tokio::test]
async fn a_write_through_dropped_at_any_poll_leaves_nothing_old_and_no_block() {
    for backend in Backend::ALL {
        at_any_wake_up(async |wakes| {
            let setup = Setup::new(backend);
            let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
            let origin = Origin::open(1);
            for node in [&a, &b] {
                assert_eq!(served(node, &origin).await.0, Some(1));
            }
            let written = origin.clone();
            let write = async move {
                tokio::task::yield_now().await;
                written.write(2);
                tokio::task::yield_now().await;
                Ok(Some(2))
            };
            let done = until_woken(a.put_with(&KEY.to_owned(), write), wakes).await;
            let number = origin.read().await.unwrap();
            assert_eq!(served(&a, &origin).await.0, number, "{backend:?}: after {wakes} wake-ups");
            if backend != Backend::Memory {
                // Sooner than a block runs out by itself.
                eventually("it is cached again, on all nodes", SOON, || async {
                    let (value, by) = served(&b, &origin).await;
                    value == number && by != Served::Source
                })
                .await;
            }
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_write_behind_dropped_at_any_poll_is_done_everywhere_or_nowhere() {
    for backend in Backend::SHARED {
        at_any_wake_up(async |wakes| {
            let (setup, table) = (Setup::new(backend), Table::new());
            let node = async || {
                let builder = setup.builder(lasting()).await.source(table.clone()).sink(table.clone());
                builder.write_behind(WriteBehind::default()).build().unwrap()
            };
            let (a, b) = (node().await, node().await);
            a.put(&KEY.to_owned(), &1).await.unwrap();
            b.behind().unwrap().flush().await.unwrap();
            let done = until_woken(a.put(&KEY.to_owned(), &2), wakes).await;
            b.behind().unwrap().flush().await.unwrap();
            assert!(done.is_none() || table.row(KEY) == Some(2), "{backend:?}: it was acknowledged");
            for node in [&a, &b] {
                eventually("all read what the database has", SOON, || async {
                    node.get(KEY).await.unwrap().as_deref().copied() == table.row(KEY)
                })
                .await;
            }
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn a_write_of_a_document_dropped_at_any_poll_leaves_no_old_list() {
    for backend in Backend::ALL {
        // More than a write takes; how many that are is a matter of the database's threads.
        for wakes in 0..12 {
            let name = Setup::new(backend).name;
            let database = Database::sqlite_in_memory().await.unwrap();
            let redis = backend.connect().await;
            let things = || {
                let schema = Schema::new(&*name, IdType::Int).strict(false);
                let things = database.collection(schema).cache_lists(lasting());
                redis.iter().fold(things, |things, redis| things.redis(redis)).build().unwrap()
            };
            let (node, other) = (things(), things());
            let find = Find::new(Filter::All, 10);
            let listed = async |node: &Collection| {
                let read = node.read_page(&find, &ReadOptions::default()).await.unwrap();
                read.value.unwrap().items.len()
            };
            assert_eq!((listed(&node).await, listed(&other).await), (0, 0));
            until_woken(node.put(&Id::Int(7), doc! { "n": 1 }), wakes).await;
            // What was given up goes on where the database is asked, and may still come.
            let nodes = if backend == Backend::Memory { vec![&node] } else { vec![&node, &other] };
            for node in nodes {
                eventually("lists are as the database has it", SOON, || async {
                    listed(node).await == things().find(&find).await.unwrap().items.len()
                })
                .await;
            }
        }
    }
}
