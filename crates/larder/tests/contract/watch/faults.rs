//! What a watch makes of a database or a Redis that fails.

use std::iter::repeat;

use bson::doc;
use larder::document::{ChangeKind, Id, Told};
use larder_testkit::{
    mongo,
    redis::{Deployment, Monitor, Options, Reply},
};

use super::place::{Place, connect, n, next, sees, stats, until, until_led, watch};
use crate::setup::Backend;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_stopped_goes_on_where_it_was_and_forgets_nothing_else() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let nodes = place.nodes(backend).await;
        let first = watch(&nodes[0]).start().unwrap();
        until_led(&[&first]).await;
        for id in 1..4 {
            place.put(id, 1).await;
            sees(&nodes[0], id, Some(1)).await;
        }
        until(&first, "all is applied", |stats| stats.changes_of(ChangeKind::Insert) == 3).await;
        first.stop().await;

        assert_eq!(n(&nodes[0], 1).await, Some(1), "{backend:?}: it is cached");
        place.put(1, 2).await;
        assert_eq!(n(&nodes[0], 1).await, Some(1), "{backend:?}: nobody watches");
        let second = watch(&nodes[1]).start().unwrap();
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
        let stats = stats(&second);
        assert_eq!((stats.clears, stats.history_lost, stats.rewinds), (0, 0, 0), "{backend:?}: {stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_lost_clears_the_collection_and_is_counted() {
    let server = mongo::shared();
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let nodes = place.nodes(backend).await;
        let first = watch(&nodes[0]).start().unwrap();
        until_led(&[&first]).await;
        place.put(1, 1).await;
        until(&first, "the insert is applied", |stats| stats.invalidated == 1).await;
        for node in &nodes {
            sees(node, 1, Some(1)).await;
        }
        first.stop().await;
        place.put(1, 2).await;
        if !server.forget_changes(&place.things.namespace().to_string()) {
            return mongo::not_run("losing the change history on demand");
        }
        assert_eq!(n(&nodes[0], 1).await, Some(1));

        let second = watch(&nodes[0]).start().unwrap();
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
        until_led(&[&second]).await;
        let found = stats(&second);
        assert_eq!((found.history_lost, found.failures), (1, 0), "{backend:?}: at once");
        place.put(1, 3).await;
        for node in &nodes {
            sees(node, 1, Some(3)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_repeats_counts_as_a_lost_history() {
    let server = mongo::Server::start();
    let place = Place::on(&server).await;
    let node = place.node(None).await;
    let watch = watch(&node).start().unwrap();
    until_led(&[&watch]).await;
    place.put(1, 1).await;
    sees(&node, 1, Some(1)).await;
    // No reason that is known; and then it goes on.
    let data = doc! { "failCommands": ["aggregate", "getMore"], "errorCode": 8, "appName": "larder" };
    let fail = doc! { "configureFailPoint": "failCommand", "mode": { "times": 3 }, "data": data };
    server.command("admin", fail);
    until(&watch, "it begins anew", |stats| stats.history_lost == 1).await;
    place.put(1, 2).await;
    sees(&node, 1, Some(2)).await;
    assert_eq!((stats(&watch).clears, stats(&watch).failures), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_was_killed_is_followed_again_and_nothing_is_missed() {
    for backend in Backend::ALL {
        let server = mongo::Server::start();
        let place = Place::on(&server).await;
        let nodes = place.nodes(backend).await;
        let watch = watch(&nodes[0]).start().unwrap();
        until_led(&[&watch]).await;
        place.put(1, 1).await;
        for node in &nodes {
            sees(node, 1, Some(1)).await;
        }
        until(&watch, "the insert is applied", |stats| stats.invalidated == 1).await;
        place.put(1, 2).await;
        server.kill();
        until(&watch, "the outage is noticed", |stats| stats.trouble.is_some()).await;
        server.restart();
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
        place.put(1, 3).await;
        for node in &nodes {
            sees(node, 1, Some(3)).await;
        }
        until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
        let stats = stats(&watch);
        assert_eq!((stats.clears, stats.history_lost), (1, 0), "{backend:?}: {stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_hangs_is_given_up_and_followed_again() {
    let server = mongo::Server::start();
    let place = Place::on(&server).await;
    let deadline = std::time::Duration::from_millis(500);
    let node = place.builder_within(deadline, &place.url, None).await.build().unwrap();
    let watch = watch(&node).start().unwrap();
    until_led(&[&watch]).await;
    place.put(1, 1).await;
    until(&watch, "the insert is applied", |stats| stats.invalidated == 1).await;
    sees(&node, 1, Some(1)).await;
    server.pause();
    until(&watch, "the silence is noticed", |stats| stats.trouble.is_some()).await;
    assert_eq!(n(&node, 1).await, Some(1), "what is cached is served");
    server.resume();
    place.put(1, 2).await;
    sees(&node, 1, Some(2)).await;
    until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
    assert_eq!((stats(&watch).clears, stats(&watch).history_lost), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_during_an_outage_of_redis_are_applied_after_it() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let place = Place::new().await;
        let nodes = [
            place.node(Some(&connect(&deployment).await)).await,
            place.node(Some(&connect(&deployment).await)).await,
        ];
        let watch = watch(&nodes[0]).start().unwrap();
        until_led(&[&watch]).await;
        place.put(1, 1).await;
        for node in &nodes {
            sees(node, 1, Some(1)).await;
        }
        until(&watch, "the insert is applied", |stats| stats.invalidated == 1).await;
        deployment.freeze();
        place.put(1, 2).await;
        until(&watch, "Redis does not answer", |stats| stats.trouble.is_some()).await;
        deployment.thaw();
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
        until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
        let stats = stats(&watch);
        assert_eq!((stats.clears, stats.rewinds), (1, 0), "nothing was lost: {stats:?}");
    }
}

/// Redis comes back with another replication history, as after a failover: what it had acknowledged last may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn after_redis_came_back_with_another_history_the_changes_before_are_applied_again() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let place = Place::new().await;
        let node = place.node(Some(&connect(&deployment).await)).await;
        let (watch, mut changes) = watch(&node).start_listening().unwrap();
        until_led(&[&watch]).await;
        // A point from long ago, at which nothing had been written yet.
        let tokens = place.key("cs:t");
        let age = "return redis.call('RPUSH', KEYS[1], '1:' .. string.match(redis.call('LINDEX', KEYS[1], 0), ':(.*)'))";
        assert!(matches!(deployment.owner_of(&tokens).ask(&["EVAL", age, "1", &tokens]), Reply::Int(2..)));
        for id in 1..4 {
            place.put(id, 1).await;
        }
        until(&watch, "all are applied", |stats| stats.changes_of(ChangeKind::Insert) == 3).await;

        deployment.restart();
        until(&watch, "all are applied again", |stats| stats.changes_of(ChangeKind::Insert) == 6).await;
        assert_eq!((stats(&watch).rewinds, stats(&watch).clears), (1, 1));
        assert!(matches!(next(&mut changes).await, Some(Told::HistoryLost { .. })));
        for round in 0..2 {
            for id in 1..4 {
                let mut told = next(&mut changes).await;
                // Whoever leads before all of Redis answers begins once more when it does.
                while (round, id) == (1, 1) && matches!(told, Some(Told::Resumed { .. })) {
                    told = next(&mut changes).await;
                }
                assert!(
                    matches!(&told, Some(Told::Change { change, .. }) if change.id == Some(Id::Int(id))),
                    "{told:?}"
                );
            }
            if round == 0 {
                let told = next(&mut changes).await;
                assert!(
                    matches!(told, Some(Told::Resumed { .. })),
                    "whoever listens is told again: {told:?}"
                );
            }
        }
        sees(&node, 1, Some(1)).await;
        place.put(1, 2).await;
        sees(&node, 1, Some(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_point_from_before_it_the_collection_is_cleared() {
    for deployment in Deployment::each(&Options { append_only: true, ..Options::default() }) {
        let place = Place::new().await;
        let node = place.node(Some(&connect(&deployment).await)).await;
        let watch = watch(&node).start().unwrap();
        until_led(&[&watch]).await;
        place.put(1, 1).await;
        until(&watch, "it is applied", |stats| stats.invalidated == 1).await;
        deployment.restart();
        until(&watch, "everything is forgotten", |stats| stats.clears == 2).await;
        assert_eq!(stats(&watch).rewinds, 0);
        place.put(1, 2).await;
        sees(&node, 1, Some(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_costs_one_invalidation_and_one_stored_point_and_a_batch_one_point_too() {
    for deployment in Deployment::each(&Options::default()) {
        let place = Place::new().await;
        let node = place.node(Some(&connect(&deployment).await)).await;
        // So long that nothing is renewed meanwhile.
        let watch = watch(&node).lease(std::time::Duration::from_secs(600)).start().unwrap();
        until_led(&[&watch]).await;
        // The first time, Redis has to be given each script.
        place.put(1, 0).await;
        until(&watch, "it is applied", |stats| stats.invalidated == 1).await;
        let monitors: Vec<_> = deployment.servers().iter().map(Monitor::start).collect();
        let sent = || monitors.iter().flat_map(Monitor::commands_until_quiet).collect::<Vec<_>>();
        sent();
        let count = |commands: &[Vec<String>], key: &str| {
            let scripts = commands.iter().filter(|words| words[0].starts_with("EVAL"));
            scripts.filter(|words| words[3].ends_with(key)).count()
        };

        place.put(1, 1).await;
        until(&watch, "it is applied", |stats| stats.invalidated == 2).await;
        let commands = sent();
        assert_eq!((count(&commands, ":q"), count(&commands, ":cs")), (1, 1), "{commands:?}");

        watch.stop().await;
        let many = (100..900_i64).map(|id| doc! { "_id": id });
        place.things.insert_many(many).await.expect("inserts");
        sent();
        let watch = super::place::watch(&node).lease(std::time::Duration::from_secs(600)).start().unwrap();
        until(&watch, "all are applied", |stats| stats.invalidated == 800).await;
        let commands = sent();
        // To lead, and to store the point behind the one batch.
        assert_eq!((count(&commands, ":q"), count(&commands, ":cs")), (16, 2), "{commands:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_is_not_stored_before_its_changes_are_applied() {
    let options = Options::default();
    let each = || Deployment::each(&options);
    // What it may do in the other shards later: nothing, or look where they stand.
    let all = each().zip(repeat(None)).chain(each().zip(repeat(Some("%R~*"))));
    for (deployment, elsewhere) in all {
        let place = Place::new().await;
        let user = |rules: &[&str]| {
            deployment.ask_all(&[&["ACL", "SETUSER", "first"], rules].concat());
        };
        user(&["on", ">pw", "~*", "&*", "+@all"]);
        let url = deployment.url().replace("://", "://first:pw@");
        let first = place.node(Some(&larder::redis::Redis::connect(&*url).await.unwrap())).await;
        let second = place.node(Some(&connect(&deployment).await)).await;
        // So long that it does not run out on a slow machine: the first node gives it up by itself.
        let watch_of_first = watch(&first).lease(std::time::Duration::from_secs(60)).start().unwrap();
        until_led(&[&watch_of_first]).await;
        for id in 0..40 {
            place.put(id, 1).await;
        }
        until(&watch_of_first, "all are applied", |stats| stats.changes_of(ChangeKind::Insert) == 40).await;
        for id in 0..40 {
            assert_eq!(n(&second, id).await, Some(1));
        }
        // From now on it may store points, which are in the first shard, and invalidate nothing in the others.
        let first_shard = format!("~{}*", place.key("").trim_end_matches("v1:"));
        user(&[&["resetkeys", &*first_shard][..], elsewhere.as_slice()].concat());
        for id in 0..40 {
            place.put(id, 2).await;
        }
        until(&watch_of_first, "it fails", |stats| stats.trouble.is_some()).await;
        watch_of_first.stop().await;
        drop(first);

        let watch_of_second = watch(&second).start().unwrap();
        for id in 0..40 {
            sees(&second, id, Some(2)).await;
        }
        assert_eq!(stats(&watch_of_second).clears, 0, "what was not applied was repeated");
    }
}
