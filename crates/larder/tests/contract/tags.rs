//! What stands under a tag in Redis: the token decides, and whoever loses one pays with misses.

use std::{collections::HashSet, num::NonZeroU16, time::Duration};

use larder::{
    Cache, Error, FakeClock,
    cache::{CacheBuilder, ReadOptions, Served, TierState},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::Front,
    redis::{Deployment, Monitor, Options, ask},
};

use crate::{
    behind::{Table, quick},
    setup::{LONG, Origin, lasting},
};

const SOON: Duration = Duration::from_secs(10);

/// A node with one shard and one tag, which keeps no copies: every read is about what Redis has.
async fn node(deployment: &Deployment) -> Cache<String, u64> {
    node_at(&deployment.url()).await
}

async fn node_at(url: &str) -> Cache<String, u64> {
    settings(&Redis::connect(url).await.unwrap()).build().unwrap()
}

fn settings(redis: &Redis) -> CacheBuilder<String, u64> {
    let builder = Cache::builder("tags").redis(redis).policy(lasting()).near_capacity(0);
    builder.shards(NonZeroU16::MIN).tags(|_: &String, _: &u64| vec!["tag".to_owned()])
}

async fn served(cache: &Cache<String, u64>, key: &str, origin: &Origin) -> (u64, Served) {
    let read = cache.read_with(key, &ReadOptions::default(), origin.loader()).await.unwrap();
    (read.value.as_deref().copied().unwrap(), read.served)
}

/// Where the tag's mark is, and what it is: its number and its token.
fn mark(deployment: &Deployment) -> (String, u64, String) {
    let keys = deployment.keys("*tags*:v1:t:*");
    let [key] = &*keys else { panic!("one tag, one shard: {keys:?}") };
    let reply = deployment.ask(&["GET", key]);
    let (number, token) = reply.text().and_then(|text| text.split_once(':')).expect("a number and a token");
    assert_eq!(token.len(), 16, "{reply:?}");
    (key.clone(), number.parse().unwrap(), token.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_purge_of_a_tag_puts_another_token_there() {
    for deployment in Deployment::each(&Options::default()) {
        let (cache, origin) = (node(&deployment).await, Origin::open(1));
        served(&cache, "k", &origin).await;
        let (_, before, first) = mark(&deployment);
        cache.invalidate_tag("tag").await.unwrap();
        let (_, after, second) = mark(&deployment);
        assert!(after > before && first != second, "{}", deployment.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_is_a_purge_whatever_number_it_has() {
    for deployment in Deployment::each(&Options::default()) {
        let (first, origin) = (node(&deployment).await, Origin::open(1));
        for _ in 0..5 {
            first.invalidate("another").await.unwrap();
        }
        served(&first, "k", &origin).await;
        origin.write(2);
        // As a server has it that has lost numbers and given them out again.
        let (key, number, _) = mark(&deployment);
        deployment.ask(&["SET", &key, &format!("{}:00000000000000ff", number - 3)]);
        let second = node(&deployment).await;
        assert_eq!(served(&second, "k", &origin).await, (2, Served::Source), "{}", deployment.kind());
        assert_eq!(served(&second, "k", &origin).await, (2, Served::Shared), "it was stored with this token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_made_anew_is_learnt_by_a_node_that_knew_the_one_before() {
    for deployment in Deployment::each(&Options::default()) {
        let (first, origin) = (node(&deployment).await, Origin::open(1));
        served(&first, "k", &origin).await;
        let (key, ..) = mark(&deployment);
        deployment.ask(&["DEL", &key]);
        let second = node(&deployment).await;
        assert_eq!(served(&second, "k", &origin).await.1, Served::Source, "it may have been purged");
        let loads = origin.reads();
        assert_eq!(served(&first, "k", &origin).await.1, Served::Shared, "{}", deployment.kind());
        assert_eq!(served(&second, "k", &origin).await.1, Served::Shared, "and nobody has replaced it");
        assert_eq!(origin.reads(), loads);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_applied_all_there_is_puts_a_lost_mark_back() {
    for deployment in Deployment::each(&Options::default()) {
        let (first, origin) = (node(&deployment).await, Origin::open(1));
        served(&first, "k", &origin).await;
        let (key, _, token) = mark(&deployment);
        deployment.ask(&["DEL", &key]);
        served(&first, "another", &origin).await;
        assert_eq!(mark(&deployment).2, token);
        let second = node(&deployment).await;
        assert_eq!(served(&second, "k", &origin).await.1, Served::Shared, "{}", deployment.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_during_which_a_mark_was_lost_in_a_busy_shard_is_not_stored_and_the_next_one_is() {
    for deployment in Deployment::each(&Options::default()) {
        let (cache, origin) = (node(&deployment).await, Origin::open(1));
        served(&cache, "k", &origin).await;
        let (key, ..) = mark(&deployment);
        for is_stored in [false, true] {
            let other = cache.clone();
            let (url, key) = (deployment.url(), key.clone());
            cache.invalidate("k").await.unwrap();
            let loader = async move || {
                if !is_stored {
                    ask(&url, &["DEL", &key]);
                }
                other.invalidate("busy").await?;
                Ok::<_, Error>(Some(7))
            };
            cache.get_with("k", loader).await.unwrap();
            let shared = cache.explain(&"k".to_owned()).await.shared;
            assert_eq!(matches!(shared, Some(TierState::Holds { .. })), is_stored, "{shared:?}");
        }
    }
}

/// As a purge of another node does it that this one has not heard of, whose mark is lost again.
fn purge_unheard(url: &str, mark: &str) {
    let sequence = format!("{}q", mark.split_at(mark.find("t:").unwrap()).0);
    ask(url, &["INCR", &sequence]);
    ask(url, &["DEL", mark]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_not_applied_all_there_is_puts_no_lost_mark_back() {
    for deployment in Deployment::each(&Options::default()) {
        for writes in [false, true] {
            let (cache, origin) = (node(&deployment).await, Origin::open(1));
            served(&cache, "k", &origin).await;
            let (url, (key, ..)) = (deployment.url(), mark(&deployment));
            let purges = async move {
                purge_unheard(&url, &key);
                Ok::<_, Error>(Some(7))
            };
            match writes {
                true => drop(cache.put_with(&"another".to_owned(), purges).await.unwrap()),
                false => drop(cache.get_with("another", || purges).await.unwrap()),
            }
            origin.write(2);
            let second = node(&deployment).await;
            assert_eq!(
                served(&second, "k", &origin).await,
                (2, Served::Source),
                "{}: writes {writes}",
                deployment.kind()
            );
            cache.clear().await.unwrap();
        }
    }
}

/// Whoever made a purge looks again if the connection is another one by then, and makes it once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_is_sent_again_puts_another_token_there() {
    for deployment in Deployment::each(&Options::default()) {
        let front = Front::start(&deployment).await;
        let cache = node_at(&front.url()).await;
        served(&cache, "k", &Origin::open(1)).await;
        // So that the server knows the script.
        cache.invalidate_tag("tag").await.unwrap();
        let (key, ..) = mark(&deployment);
        let monitor = Monitor::start(deployment.owner_of(&key));
        eventually("a purge was sent twice", SOON, || async {
            front.cut();
            while cache.invalidate_tag("tag").await.is_err() {}
            let commands = monitor.commands_until_quiet();
            // A script's call, its keys and `M`; the token is its last argument.
            let purges =
                commands.iter().filter(|words| words.contains(&key) && words.contains(&"M".to_owned()));
            let tokens: Vec<_> = purges.filter_map(|words| words.last()).collect();
            assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len(), "{tokens:?}");
            tokens.len() > 1
        })
        .await;
    }
}

/// Loses the tag's mark, and has another node make it anew.
async fn make_anew(deployment: &Deployment, other: &Cache<String, u64>) {
    let (key, _, before) = mark(deployment);
    deployment.ask(&["DEL", &key]);
    served(other, "another", &Origin::open(1)).await;
    assert_ne!(mark(deployment).2, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_writes_through_learns_of_a_mark_that_was_made_anew() {
    for deployment in Deployment::each(&Options::default()) {
        let (writer, other) = (node(&deployment).await, node(&deployment).await);
        let write = async || writer.put_with(&"k".to_owned(), async { Ok(Some(7)) }).await.unwrap();
        write().await;
        make_anew(&deployment, &other).await;
        // The first one is refused, and says what the mark is.
        write().await;
        write().await;
        let read = served(&other, "k", &Origin::open(1)).await;
        assert_eq!(read, (7, Served::Shared), "{}", deployment.kind());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_writes_behind_asks_again_before_a_mark_has_expired() {
    for deployment in Deployment::each(&Options::default()) {
        let (clock, table) = (FakeClock::default(), Table::new());
        let redis = Redis::connect(&*deployment.url()).await.unwrap();
        let builder = settings(&redis).clock(clock.clone()).source(table.clone()).sink(table.clone());
        let writer = builder.write_behind(quick()).build().unwrap();
        let write = async || {
            writer.put(&"k".to_owned(), &7).await.unwrap();
            writer.behind().unwrap().flush().await.unwrap();
        };
        write().await;
        let other = settings(&redis).clock(FakeClock::default()).build().unwrap();
        make_anew(&deployment, &other).await;
        // More than half of the lifetime of a mark.
        clock.advance(10 * LONG);
        write().await;
        let read = served(&other, "k", &Origin::open(1)).await;
        assert_eq!(read, (7, Served::Shared), "{}", deployment.kind());
    }
}
