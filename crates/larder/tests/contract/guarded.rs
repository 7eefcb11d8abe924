//! A process that dies inside of a guarded write, and what other nodes read then. The database is a row in Redis.

use std::{
    io::{BufRead, BufReader, stdin},
    os::unix::process::ExitStatusExt,
    process::abort,
    time::Duration,
};

use larder::{
    Cache,
    cache::{ReadOptions, Served, TierState},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    redis::{Reply, ask},
};
use tokio::task::block_in_place;

use crate::{
    child::{self, SIGABRT, say},
    setup::{Backend, Origin, Setup, lasting},
};

const KEY: &str = "k";
/// Is being loaded when the write begins, and until long after its end.
const SLOW: &str = "slow";
const SOON: Duration = Duration::from_secs(10);

fn row(name: &str) -> String {
    format!("{{rows:{name}}}")
}

/// What a node answers from its copy, from Redis or from the row.
async fn read(node: &Cache<String, u64>, key: &str, url: &str, name: &str) -> (u64, Served) {
    let (url, row) = (url.to_owned(), row(name));
    let load = || async move {
        let reply = block_in_place(|| ask(&url, &["GET", &row]));
        Ok(reply.text().and_then(|number| number.parse().ok()))
    };
    let read = node.read_with(key, &ReadOptions::default(), load).await.unwrap();
    (*read.value.expect("there is a row"), read.served)
}

/// Not a test of its own: the process that dies. Without a job there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies() {
    let Some(job) = child::job() else { return };
    let mut words = job.split(' ');
    let mut word = || words.next().expect("a job has three words").to_owned();
    let (url, name, step) = (word(), word(), word());
    let redis = Redis::connect(&*url).await.unwrap();
    let cache: Cache<String, u64> = Cache::builder(&*name).policy(lasting()).redis(&redis).build().unwrap();
    let write = async {
        say("blocked");
        // Until the test has seen what it is like now, or has gone.
        block_in_place(|| stdin().read_line(&mut String::new())).unwrap();
        if step == "before" {
            abort();
        }
        block_in_place(|| ask(&url, &["SET", &row(&name), "2"]));
        if step == "after" {
            abort();
        }
        Ok(())
    };
    drop(cache.guarded_write(&[KEY, SLOW], write).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_inside_of_a_guarded_write_leaves_nothing_stale() {
    for backend in Backend::SHARED {
        // What the database has then; and whether somebody else invalidates the key before.
        for (step, left, disturbed) in [("before", 1, false), ("after", 2, false), ("after", 2, true)] {
            let setup = Setup::new(backend);
            let (url, name) = (backend.url().expect("it is a server"), &*setup.name);
            ask(&url, &["SET", &row(name), "1"]);
            let nodes = [setup.node(lasting()).await, setup.node(lasting()).await];
            for node in &nodes {
                assert_eq!(read(node, KEY, &url, name).await.0, 1);
            }
            let slow = Origin::held(1);
            let late = tokio::spawn({
                let (node, load) = (nodes[0].clone(), slow.loader());
                async move { node.get_with(SLOW, load).await }
            });
            slow.until_reading(1).await;

            let mut writer = child::start("guarded::a_writer_that_dies", &format!("{url} {name} {step}"));
            let mut said = BufReader::new(writer.0.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(block_in_place(|| said.any(|line| line.ends_with("blocked"))), "{step}");
            for node in &nodes {
                eventually("the copy is gone", SOON, || async {
                    read(node, KEY, &url, name).await == (1, Served::Source)
                })
                .await;
            }
            if disturbed {
                nodes[1].invalidate(KEY).await.unwrap();
                for node in nodes.iter().chain(&nodes) {
                    let read = read(node, KEY, &url, name).await;
                    assert_eq!(read, (1, Served::Source), "{backend:?}: nothing is filled under the block");
                }
            }
            drop(writer.0.stdin.take());
            let ended = block_in_place(|| writer.0.wait()).unwrap();
            assert_eq!(ended.signal(), Some(SIGABRT), "{step}: {ended}");

            for node in &nodes {
                assert_eq!(read(node, KEY, &url, name).await, (left, Served::Source), "{backend:?}: {step}");
            }
            for key in [KEY, SLOW] {
                let explain = nodes[0].explain(&key.to_owned()).await;
                assert!(matches!(explain.shared, Some(TierState::Blocked { .. })), "{step}: {explain:?}");
                let life = setup.ask(&["PTTL", &explain.slot_key.expect("there is a Redis")]);
                assert!(matches!(life, Reply::Int(1..=10_000)), "{step}: the block goes by itself: {life:?}");
                // Ten seconds later.
                setup.expire(key).await;
            }
            slow.let_go(1);
            late.await.unwrap().unwrap();
            for (node, key) in nodes.iter().flat_map(|node| [(node, KEY), (node, SLOW)]) {
                eventually("it is cached again", SOON, || async {
                    let (number, served) = read(node, key, &url, name).await;
                    assert_eq!(number, left, "{backend:?}: {step}: {key}");
                    served != Served::Source
                })
                .await;
            }
        }
    }
}
