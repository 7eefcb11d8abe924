//! Strict consistency, by every way to invalidate.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use larder::{
    Cache,
    cache::{Consistency, ReadOptions, Served},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front},
    redis::{Deployment, Options},
};
use tokio::{runtime::Handle, task::block_in_place, time::timeout};

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

/// The key, and perhaps a reader who is always faster: whoever asks for the key's text waits until the key was read once more.
#[derive(Clone)]
struct Watched {
    reader: Option<Arc<(Cache<Self, u64>, Origin)>>,
}

/// Without a reader.
const PLAIN: Watched = Watched { reader: None };

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reader) = &self.reader {
            let (cache, origin) = &**reader;
            let read = cache.get_with(&PLAIN, origin.loader());
            block_in_place(|| Handle::current().block_on(read)).expect("Redis answers");
        }
        f.write_str(KEY)
    }
}

impl PartialEq for Watched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KEY.hash(state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_invalidation_dropped_while_it_waits_for_others_leaves_no_old_copy_on_its_own_node() {
    for deployment in Deployment::each(&Options::default()) {
        let node = async |url: String| {
            let redis = Redis::connect(&*url).await.unwrap();
            let strict = Consistency::Strict(Duration::from_secs(5));
            let builder = Cache::<Watched, u64>::builder("strict").redis(&redis).policy(lasting());
            builder.consistency(strict).build().unwrap()
        };
        let front = Front::start(&deployment).await;
        let (cache, other) = (node(deployment.url()).await, node(front.url()).await);
        let origin = Origin::open(1);
        for cache in [&cache, &other] {
            assert_eq!(cache.get_with(&PLAIN, origin.loader()).await.unwrap().as_deref(), Some(&1));
        }
        front.set(Fault::Silent);
        origin.write(2);
        let key = Watched { reader: Some(Arc::new((cache.clone(), origin.clone()))) };
        let waited = timeout(Duration::from_secs(1), cache.invalidate(&key)).await;
        assert!(waited.is_err(), "{}: the other node has not heard of it", deployment.kind());
        let read = cache.get_with(&PLAIN, origin.loader()).await.unwrap();
        assert_eq!(read.as_deref(), Some(&2), "{}", deployment.kind());
    }
}
