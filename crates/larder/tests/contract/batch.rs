//! Several keys in one call: what is loaded, what it costs, and what each key's lease still guards.

use std::{
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use larder::{Cache, Error, ErrorKind, Policy, Result, cache::Consistency, redis::Redis};
use larder_testkit::eventually;
use tokio::time::timeout;

use crate::{
    round_trips::{quiet, trips},
    setup::{Backend, LONG, Origin, Setup, lasting},
};

const SHARDS: u16 = 4;
const SHARDS_TIMES: u64 = SHARDS as u64;
const SOON: Duration = Duration::from_secs(10);

/// Forty keys, some of them in each shard.
fn keys(round: &str) -> Vec<String> {
    (0..40).map(|number| format!("{round}:{number}")).collect()
}

fn number_of(key: &str) -> u64 {
    key.rsplit(':').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

async fn numbers(keys: Vec<String>) -> Result<Vec<Option<u64>>> {
    Ok(keys.iter().map(|key| Some(number_of(key))).collect())
}

/// A node whose round trips are those of its reads: its own looks at the sequences come every half minute.
async fn counted_node(setup: &Setup, policy: Policy) -> (Redis, Cache<String, u64>) {
    let redis = setup.backend.connect().await.expect("this backend has a Redis");
    let cache =
        Cache::builder(&*setup.name)
            .redis(&redis)
            .clock(setup.clock.clone())
            .policy(policy.near_ttl(Duration::ZERO))
            .consistency(Consistency::Bounded(Duration::from_secs(60)))
            .shards(NonZeroU16::new(SHARDS).expect("not zero"))
            .tags(|key: &String, value| {
                if key.starts_with("tagged") && *value == 7 { vec!["seven".to_owned()] } else { Vec::new() }
            })
            .build()
            .unwrap();
    // Every shard is followed and every server knows the scripts from here on.
    cache.get_many_with(&keys("warm"), numbers).await.unwrap();
    cache.get_many_with(&keys("warm-too"), |_| async { broken() }).await.unwrap_err();
    let small = &keys("warm")[..10];
    quiet(&redis, async || {
        cache.get_many_with(small, |_| async { broken() }).await.expect("they are there");
    })
    .await;
    (redis, cache)
}

fn broken<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Source, "the source is broken"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_two_round_trips_a_shard_when_cold_and_one_when_not() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (redis, cache) = counted_node(&setup, lasting()).await;
        let keys = keys("cold");
        let (cold, values) = trips(&redis, cache.get_many_with(&keys, numbers)).await;
        assert_eq!(
            values.unwrap().iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
            (0..40).map(Some).collect::<Vec<_>>()
        );
        assert_eq!(cold, 2 * SHARDS_TIMES, "{backend:?}: a look and a fill for each shard");
        let (there, values) = trips(&redis, cache.get_many_with(&keys, |_| async { broken() })).await;
        assert_eq!(values.unwrap().len(), 40);
        assert_eq!(there, SHARDS_TIMES, "{backend:?}: a look for each shard");
        assert_eq!(cache.stats().fills_accepted, 80, "those that warmed it up and these");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_come_to_nothing_are_given_back_in_one_round_trip_a_shard() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (redis, cache) = counted_node(&setup, lasting().max_entry_bytes(1)).await;
        let (failed, error) = trips(&redis, cache.get_many_with(&keys("x"), |_| async { broken() })).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Source);
        assert_eq!(failed, 2 * SHARDS_TIMES, "{backend:?}: a look and the leases");
        let (too_large, values) = trips(&redis, cache.get_many_with(&keys("x"), numbers)).await;
        assert_eq!(values.unwrap().len(), 40, "nobody held their leases any more");
        assert_eq!(
            too_large,
            2 * SHARDS_TIMES,
            "{backend:?}: a look, and the fills with the leases of those too large"
        );
        let (mixed, _) = trips(&redis, cache.get_many_with(&keys("x"), numbers)).await;
        assert_eq!(
            mixed,
            2 * SHARDS_TIMES,
            "{backend:?}: ten are there, and thirty leases were taken and given back"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_values_of_a_batch_are_replaced_in_three_round_trips_a_shard() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let policy =
            Policy::ttl(Duration::from_secs(10)).jitter(0.0).stale_if_error(Duration::from_secs(600));
        let (redis, cache) = counted_node(&setup, policy).await;
        cache.get_many_with(&keys("old"), numbers).await.unwrap();
        setup.clock.advance(Duration::from_secs(15));
        let (replaced, values) = trips(&redis, cache.get_many_with(&keys("old"), numbers)).await;
        assert_eq!(values.unwrap().len(), 40);
        assert_eq!(replaced, 3 * SHARDS_TIMES, "{backend:?}: a look, the leases beside the slots, the fills");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fill_of_a_batch_has_a_lease_of_its_own() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (_, cache) = counted_node(&setup, lasting()).await;
        let other = counted_node(&setup, lasting()).await.1;
        let keys = keys("racing");
        let load = {
            let (other, lost) = (other.clone(), keys[3].clone());
            move |keys: Vec<String>| {
                let (other, lost) = (other.clone(), lost.clone());
                async move {
                    // Between what was read and the fill.
                    other.invalidate(&*lost).await?;
                    numbers(keys).await
                }
            }
        };
        let before = cache.stats();
        cache.get_many_with(&keys, load).await.unwrap();
        let after = cache.stats();
        assert_eq!(after.fills_refused - before.fills_refused, 1, "{backend:?}");
        assert_eq!(after.fills_accepted - before.fills_accepted, 39, "{backend:?}");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let load = {
            let asked = asked.clone();
            move |keys: Vec<String>| {
                asked.lock().unwrap().extend(keys.clone());
                numbers(keys)
            }
        };
        other.get_many_with(&keys, load).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), [keys[3].clone()], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_purged_during_a_batch_refuses_its_fills_and_no_others() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (redis, cache) = counted_node(&setup, lasting()).await;
        let other = counted_node(&setup, lasting()).await.1;
        let load = {
            let other = other.clone();
            move |keys: Vec<String>| {
                let other = other.clone();
                async move {
                    other.invalidate_tag("seven").await?;
                    numbers(keys).await
                }
            }
        };
        let before = cache.stats();
        let (took, values) = trips(&redis, cache.get_many_with(&keys("tagged"), load)).await;
        assert_eq!(values.unwrap().len(), 40);
        let after = cache.stats();
        assert_eq!(after.fills_refused - before.fills_refused, 1, "{backend:?}");
        assert_eq!(after.fills_accepted - before.fills_accepted, 39, "{backend:?}");
        // Besides: the tag is new to this node, the refused lease is given back, and its shard is looked at again, with a page
        // of its log unless the purge had been heard of.
        assert!((11..=12).contains(&took), "{backend:?}: {took}");
        let (again, _) = trips(&redis, cache.get_many_with(&keys("tagged"), numbers)).await;
        assert_eq!(again, SHARDS_TIMES + 1, "{backend:?}: the refused one is filled now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_loads_what_is_missing_with_one_call() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        a.get_with("2", Origin::open(2).loader()).await.unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let load = {
            let calls = calls.clone();
            move |keys: Vec<String>| {
                calls.lock().unwrap().push(keys.len());
                async move {
                    Ok(keys.iter().map(|key| key.parse().ok().filter(|number: &u64| *number < 90)).collect())
                }
            }
        };
        let keys: Vec<String> = (0..100).chain([5, 2]).map(|number: u64| number.to_string()).collect();
        for node in [&a, &b, &a] {
            let values = node.get_many_with(&keys, load.clone()).await.unwrap();
            let expected = (0..100).chain([5, 2]).map(|number| Some(number).filter(|number| *number < 90));
            assert!(values.iter().map(|value| value.as_deref().copied()).eq(expected), "{backend:?}");
        }
        let calls = calls.lock().unwrap().clone();
        let expected = if backend == Backend::Memory { vec![99, 100] } else { vec![99] };
        assert_eq!(
            calls, expected,
            "{backend:?}: duplicates count once, and the second node finds all in Redis"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_source_gives_too_few_values_fails_whole() {
    for backend in Backend::ALL {
        let cache = Setup::new(backend).node(lasting()).await;
        let keys = ["a".to_owned(), "b".to_owned()];
        let error = cache.get_many_with(&keys, |_| async { Ok(vec![Some(1)]) }).await.unwrap_err();
        assert!(error.to_string().contains("1 values for 2 keys"), "{error}");
        assert_eq!(
            cache.get_with("a", Origin::open(3).loader()).await.unwrap().as_deref(),
            Some(&3),
            "{backend:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_keys_that_others_are_loading() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::held(1);
        let single = tokio::spawn({
            let (a, load) = (a.clone(), origin.loader());
            async move { a.get_with("1", load).await }
        });
        origin.until_reading(1).await;
        let node = if backend == Backend::Memory { a } else { b };
        let batch = tokio::spawn(async move {
            let keys = ["0".to_owned(), "1".to_owned()];
            let load = |keys: Vec<String>| async move {
                assert_eq!(keys, ["0"], "the other one is on its way");
                Ok(vec![Some(0)])
            };
            node.get_many_with(&keys, load).await
        });
        origin.let_go(1);
        let values = batch.await.unwrap().unwrap();
        assert_eq!(
            values.iter().map(|value| value.as_deref().copied()).collect::<Vec<_>>(),
            [Some(0), Some(1)]
        );
        single.await.unwrap().unwrap();
    }
}

/// A source of many keys that all have the number of an origin, and the keys that each call asked for.
#[derive(Clone)]
struct Table {
    origin: Origin,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Table {
    fn held(number: u64) -> Self {
        Self { origin: Origin::held(number), asked: Arc::default() }
    }

    async fn read(&self, cache: &Cache<String, u64>, keys: &[String]) -> Vec<u64> {
        let table = self.clone();
        let load = move |keys: Vec<String>| {
            let (table, wanted) = (table.clone(), keys.len());
            table.asked.lock().unwrap().push(keys);
            async move { Ok(vec![table.origin.read().await?; wanted]) }
        };
        let values = cache.get_many_with(keys, load).await.unwrap();
        values.into_iter().map(|value| *value.expect("every key has a number")).collect()
    }

    /// The keys of each call so far, sorted.
    fn asked(&self) -> Vec<Vec<String>> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.iter_mut().for_each(|keys| keys.sort());
        asked
    }
}

fn revalidating() -> Policy {
    Policy::ttl(Duration::from_secs(10)).jitter(0.0).stale_while_revalidate(LONG)
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_finds_stale_is_loaded_anew_behind_it_with_one_call() {
    for (backend, soft, near) in Backend::ALL.into_iter().flat_map(|backend| {
        [(false, true), (false, false), (true, true)].map(|(soft, near)| (backend, soft, near))
    }) {
        let setup = Setup::new(backend);
        // Without copies of its own, in Redis; in process the near tier is all there is.
        let policy = if near || backend == Backend::Memory {
            revalidating()
        } else {
            revalidating().near_ttl(Duration::ZERO)
        };
        let cache = setup.node(policy).await;
        let (table, keys) = (Table::held(1), keys("stale"));
        table.origin.let_go(1);
        table.read(&cache, &keys).await;
        table.origin.write(2);
        if soft {
            cache.expire(&keys.iter().collect::<Vec<_>>()).await.unwrap();
        } else {
            setup.clock.advance(Duration::from_secs(15));
        }
        let context = format!("{backend:?}, expired: {soft}, copies: {near}");
        for _ in 0..3 {
            assert_eq!(table.read(&cache, &keys).await, [1; 40], "{context}: nobody waits");
        }
        table.origin.until_reading(2).await;
        table.origin.let_go(1);
        eventually("the refresh has landed", SOON, || async { table.read(&cache, &keys).await == [2; 40] })
            .await;
        assert_eq!(table.asked()[1..], [sorted(keys)], "{context}: one call for all");
        assert!(cache.stats().refreshes >= 40, "{context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_what_is_missing_and_not_for_the_refresh_of_what_is_stale() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(revalidating()).await;
        let (table, keys) = (Table::held(1), keys("mixed"));
        table.origin.let_go(1);
        table.read(&cache, &keys[..30]).await;
        setup.clock.advance(Duration::from_secs(15));
        let missing = Table::held(2);
        missing.origin.let_go(1);
        let (held, first) = (table.clone(), keys[0].clone());
        let load = move |keys: Vec<String>| {
            let of = if keys.contains(&first) { held.clone() } else { missing.clone() };
            async move { Ok(vec![of.origin.read().await?; keys.len()]) }
        };
        let values = timeout(SOON, cache.get_many_with(&keys, load)).await.expect("nobody waits").unwrap();
        let values: Vec<u64> = values.into_iter().map(|value| *value.unwrap()).collect();
        assert_eq!(values, [[1; 30].as_slice(), &[2; 10]].concat(), "{backend:?}");
        table.origin.until_reading(2).await;
        table.origin.let_go(1);
        cache.close().await;
        assert_eq!(cache.stats().refreshes, 30, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_nodes_find_stale_in_batches_is_loaded_anew_by_one_of_them() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(revalidating()).await, setup.node(revalidating()).await);
        let (table, keys) = (Table::held(1), keys("two"));
        table.origin.let_go(1);
        table.read(&a, &keys).await;
        table.read(&b, &keys).await;
        table.origin.write(2);
        setup.clock.advance(Duration::from_secs(15));
        assert_eq!(table.read(&a, &keys).await, [1; 40]);
        table.origin.until_reading(2).await;
        assert_eq!(table.read(&b, &keys).await, [1; 40], "{backend:?}: nobody waits");
        b.close().await;
        assert_eq!(table.origin.reads(), 2, "{backend:?}: the other one is at it");
        table.origin.let_go(1);
        for node in [&a, &b] {
            eventually("it is fresh", SOON, || async { table.read(node, &keys).await == [2; 40] }).await;
        }
        assert_eq!(table.asked()[1..], [sorted(keys)], "{backend:?}: one call for all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_of_a_batch_that_fails_is_not_tried_by_every_reader() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = setup.node(revalidating()).await;
        let keys = keys("failing");
        cache.get_many_with(&keys, numbers).await.unwrap();
        setup.clock.advance(Duration::from_secs(15));
        let calls = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        eventually("half of the first pause is over", SOON, || async {
            let called = calls.clone();
            let load = move |_| {
                called.fetch_add(1, SeqCst);
                async { broken() }
            };
            cache.get_many_with(&keys, load).await.expect("what is stale serves");
            calls.load(SeqCst) > 0 && begun.elapsed() > Duration::from_millis(500)
        })
        .await;
        let most = 1 + begun.elapsed().as_secs() as usize;
        assert!((1..=most).contains(&calls.load(SeqCst)), "{backend:?}: {calls:?} in {:?}", begun.elapsed());
    }
}
