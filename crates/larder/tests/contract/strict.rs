//! Strict consistency, by every way to invalidate.

use std::time::Duration;

use larder::{
    Cache,
    cache::{Consistency, ReadOptions, Served},
};
use larder_testkit::eventually;

use crate::setup::{Backend, LONG, Origin, Setup, lasting};

const KEY: &str = "k";
const SOON: Duration = Duration::from_secs(10);

/// Makes every node forget the key, or take it for stale, in one of the ways that there are. Returns whether it is to be gone.
async fn forget(cache: &Cache<String, u64>, way: u64) -> bool {
    match way {
        0 => drop(cache.invalidate(KEY).await.unwrap()),
        1 => drop(cache.guarded_write(&[KEY], async { Ok(()) }).await.unwrap().1.unwrap()),
        2 => drop(cache.invalidate_tag("tag").await.unwrap()),
        3 => assert!(cache.invalidate_pattern(KEY).await.unwrap() > 0),
        4 => drop(cache.clear().await.unwrap()),
        5 => drop(cache.expire(&[KEY]).await.unwrap()),
        6 => assert_eq!(cache.expire_tags(&["tag"]).await.unwrap(), 1),
        _ => assert_eq!(cache.expire_pattern(KEY).await.unwrap(), 1),
    }
    way < 5
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_mode_no_node_has_an_older_copy_once_an_invalidation_returns() {
    const WAYS: u64 = 8;
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let strict = Consistency::Strict(Duration::from_secs(2));
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let builder = setup.builder(lasting().stale_while_revalidate(LONG)).await.consistency(strict);
            nodes.push(builder.tags(|_, _| vec!["tag".to_owned()]).build().unwrap());
        }
        let origin = Origin::open(0);
        for round in 1..=4 * WAYS {
            eventually("each node has a fresh copy", SOON, || async {
                let mut fresh = 0;
                for node in &nodes {
                    let read = node.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
                    fresh += usize::from(!read.stale && read.served == Served::Near);
                }
                fresh == nodes.len()
            })
            .await;
            origin.write(round);
            let is_gone = forget(&nodes[round as usize % 3], round % WAYS).await;
            for node in &nodes {
                let read = node.read_with(KEY, &ReadOptions::default(), origin.loader()).await.unwrap();
                let is_new = read.value.as_deref() == Some(&round);
                assert!(is_new || read.stale && !is_gone, "{backend:?}, way {}: {read:?}", round % WAYS);
            }
        }
    }
}
