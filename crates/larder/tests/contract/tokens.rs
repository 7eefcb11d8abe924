//! Tokens: reading, on any node, what another one has acknowledged, or anything later.

use std::time::Duration;

use larder::{
    Cache,
    cache::{Consistency, ReadOptions, Token},
    redis::Redis,
};
use larder_testkit::redis::{Deployment, Options};

use crate::setup::{Backend, DEAFEN, Origin, Setup, deaf, lasting};

const KEY: &str = "k";

fn tagged(tag: &str) -> ReadOptions {
    ReadOptions { tags: vec![tag.to_owned()], ..ReadOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_token_sees_the_write_on_any_node() {
    for backend in Backend::SHARED {
        let setup = Setup::new(backend);
        let (a, b) = (setup.node(lasting()).await, setup.node(lasting()).await);
        let origin = Origin::open(0);
        for round in 1..50 {
            b.get_with(KEY, origin.loader()).await.unwrap();
            origin.write(round);
            let token = a.invalidate(KEY).await.unwrap().expect("there is a Redis");
            // As it travels: in a header.
            let token: Token = token.to_string().parse().unwrap();
            let options = ReadOptions { at_least: Some(token), ..ReadOptions::default() };
            let read = b.read_with(KEY, &options, origin.loader()).await.unwrap();
            assert_eq!(read.value.as_deref(), Some(&round), "{backend:?}: no wait, no luck needed");
        }
    }
}

/// What is purged by a number stays in Redis: a node that has not heard of the number would believe it.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_the_token_of_a_purge_sees_it_on_a_node_that_has_not_heard_of_it() {
    for deployment in Deployment::each(&Options::default()) {
        // One that hears nothing, and looks twice a minute.
        deployment.ask_all(&DEAFEN);
        let mut nodes = Vec::new();
        for url in [deployment.url(), deaf(&deployment.url())] {
            let redis = Redis::connect(&*url).await.unwrap();
            let builder = Cache::<String, u64>::builder("tokens").redis(&redis).policy(lasting());
            nodes.push(builder.consistency(Consistency::Bounded(Duration::from_secs(60))).build().unwrap());
        }
        let [a, b] = &nodes[..] else { unreachable!("there are two") };
        let origin = Origin::open(0);
        for round in 1..10 {
            b.read_with(KEY, &tagged("red"), origin.loader()).await.unwrap();
            origin.write(round);
            let tokens = if round % 2 == 0 { a.clear().await } else { a.invalidate_tag("red").await };
            let token = tokens.unwrap().into_iter().find(|token| b.concerns(&KEY.to_owned(), token));
            let options = ReadOptions { at_least: token, ..tagged("red") };
            let read = if round % 3 == 0 {
                let origin = origin.clone();
                let load = move |_| {
                    let origin = origin.clone();
                    async move { Ok(vec![origin.read().await?]) }
                };
                b.read_many_with(&[KEY.to_owned()], &options, load).await.unwrap().remove(0)
            } else {
                b.read_with(KEY, &options, origin.loader()).await.unwrap()
            };
            assert_eq!(read.value.as_deref(), Some(&round), "{}: round {round}", deployment.kind());
        }
    }
}
