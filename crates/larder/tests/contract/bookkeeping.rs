//! What is sent and what is held: no more than was asked for.

use std::collections::BTreeMap;

use larder::{Cache, redis::Redis};
use larder_testkit::redis::{Deployment, Options, Reply};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::setup::{LONG, Origin, lasting};

/// How often the servers have carried out a command, also for scripts.
fn calls(deployment: &Deployment, command: &str) -> u64 {
    let calls = |stats: &Reply| {
        let of_it = stats.text().and_then(|stats| stats.split(&format!("cmdstat_{command}:calls=")).nth(1));
        of_it.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    deployment.ask_all(&["INFO", "commandstats"]).iter().map(calls).sum()
}

/// All numbers in the logs of all shards, with the last number of each.
fn logged(deployment: &Deployment) -> BTreeMap<String, (Vec<u64>, u64)> {
    let of_log = |log: &str| {
        let Reply::Array(entries) = deployment.ask(&["XRANGE", log, "-", "+"]) else {
            panic!("a log is a stream")
        };
        let numbers = entries.iter().map(|entry| {
            let Reply::Array(parts) = entry else { panic!("an entry has parts") };
            let (number, _) = parts[0].text().and_then(|id| id.split_once('-')).expect("an id");
            number.parse().expect("a number")
        });
        let last = deployment.ask(&["GET", &format!("{}q", log.trim_end_matches("log"))]);
        (numbers.collect(), last.text().and_then(|last| last.parse().ok()).expect("a sequence"))
    };
    deployment.keys("*:log").iter().map(|log| (log.clone(), of_log(log))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_announce_nothing_and_each_invalidation_announces_one_number_without_gaps() {
    for deployment in Deployment::each(&Options::default()) {
        let redis = Redis::connect(deployment.url()).await.unwrap();
        let node =
            || Cache::<String, u64>::builder("counted").policy(lasting()).redis(&redis).build().unwrap();
        let (a, b) = (node(), node());
        let origin = Origin::open(1);
        for key in 0..100 {
            a.get_with(&*key.to_string(), origin.loader()).await.unwrap();
            b.get_with(&*key.to_string(), origin.loader()).await.unwrap();
        }
        assert_eq!((calls(&deployment, "spublish"), calls(&deployment, "xadd")), (0, 0), "fills");
        for key in 0..100 {
            let node = if key % 2 == 0 { &a } else { &b };
            node.invalidate(&*key.to_string()).await.unwrap();
        }
        assert_eq!((calls(&deployment, "spublish"), calls(&deployment, "xadd")), (100, 100), "invalidations");
        let logged = logged(&deployment);
        assert_eq!(logged.values().map(|(_, last)| last).sum::<u64>(), 100);
        for (log, (numbers, last)) in logged {
            assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{log}");
        }
    }
}

#[tokio::test]
async fn the_near_tier_never_weighs_more_than_it_may_however_its_keys_are_used() {
    const MOST: u64 = 1_000;
    let mut dice = StdRng::seed_from_u64(3);
    let stale = lasting().stale_if_error(LONG);
    let builder = Cache::<String, Vec<u8>>::builder("weighed").policy(stale);
    let cache = builder.near_bytes(MOST, 60, |value| value.len() as u32).build().unwrap();
    let mut heaviest = 0;
    for _ in 0..20_000 {
        let key = dice.random_range(0..300).to_string();
        match dice.random_range(0..10) {
            0 => drop(cache.invalidate(&*key).await.unwrap()),
            1 if dice.random_bool(0.01) => drop(cache.clear().await.unwrap()),
            2 => drop(cache.expire(&[&*key]).await.unwrap()),
            _ => {
                let value = vec![0; dice.random_range(1..120)];
                cache.get_with(&*key, || async { Ok(Some(value)) }).await.unwrap();
            }
        }
        let stats = cache.stats();
        assert!(stats.near_weight <= MOST, "{} entries weigh {}", stats.near_entries, stats.near_weight);
        heaviest = heaviest.max(stats.near_weight);
    }
    assert!(heaviest > MOST / 2, "it was used: {heaviest}");
}
