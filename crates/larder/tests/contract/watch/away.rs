//! A watch while one primary of a cluster is away: the others are told, and it is when it is back.

use bson::doc;
use larder::{
    cache::Consistency,
    document::{ChangeKind, Collection, Id, Told, Watch, WatchRole},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    proxy::{Fault, Front, Proxy},
    redis::{Cluster, Deployment, Options, Reply},
};
use tokio::task::block_in_place;

use super::place::{Place, SOON, n, next, sees, stats, until, until_led, watch};

/// A cluster of which one primary, not the one with the watch's lease, can be away for all nodes, and go on as if nothing had been.
struct Scene {
    place: Place,
    deployment: Deployment,
    front: Front,
    /// The place of that primary.
    away: usize,
    nodes: [Collection; 2],
    /// A document of a primary that stays, and one of the other.
    well: i64,
    gone: i64,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Consistency::default()).await
    }

    /// Both documents have the number 1.
    async fn of(consistency: Consistency) -> Self {
        let options = Options { append_only: true, ..Options::default() };
        let options = options.with(&["--cluster-require-full-coverage", "no"]);
        let deployment = Deployment::Cluster(Cluster::start_with(3, false, &options));
        let front = Front::start(&deployment).await;
        let place = Place::new().await;
        let nodes = [node(&place, &front, consistency).await, node(&place, &front, consistency).await];
        let lease = port_of(&deployment, &place.key("cs"));
        let away = deployment.servers().iter().position(|server| server.port() != lease).unwrap();
        let (mut well, mut gone) = (None, None);
        for id in 0..100 {
            let slot = nodes[0].explain(&Id::Int(id)).await.slot_key.unwrap();
            let is_gone = port_of(&deployment, &slot) == deployment.servers()[away].port();
            if is_gone { gone = Some(id) } else { well = Some(id) }
        }
        let (well, gone) = (well.unwrap(), gone.unwrap());
        for id in [well, gone] {
            place.put(id, 1).await;
        }
        Self { place, deployment, front, away, nodes, well, gone }
    }

    fn proxy(&self) -> &Proxy {
        &self.front.proxies()[self.away]
    }

    /// The first node leads a watch, and both have read both documents.
    async fn watched(&self) -> Watch {
        let watch = watch(&self.nodes[0]).start().unwrap();
        until_led(&[&watch]).await;
        self.read_by_all().await;
        watch
    }

    async fn read_by_all(&self) {
        for id in [self.well, self.gone] {
            for node in &self.nodes {
                sees(node, id, Some(1)).await;
            }
        }
    }

    async fn leave(&self, fault: Fault, watch: &Watch) {
        self.proxy().set(fault);
        if fault == Fault::Refuse {
            self.proxy().cut();
        }
        until(watch, "it is noticed", |stats| stats.trouble.is_some()).await;
    }

    /// What is stored of the watch: the points, and what they stand on.
    fn stored(&self) -> [Reply; 2] {
        let (tokens, state) = (self.place.key("cs:t"), self.place.key("cs"));
        let ask = |words: &[&str]| self.deployment.ask(words);
        [ask(&["LRANGE", &tokens, "0", "-1"]), ask(&["HMGET", &state, "histories", "seen"])]
    }

    /// A write past the cache, and that it is applied.
    async fn put(&self, watch: &Watch, id: i64, n: i64) {
        let applied = stats(watch).changes_of(ChangeKind::Replace);
        self.place.put(id, n).await;
        until(watch, "it is applied", |stats| stats.changes_of(ChangeKind::Replace) > applied).await;
    }

    /// Once nothing is owed any more, all have it from Redis.
    async fn is_nowhere_read_again(&self, id: i64, n: i64) {
        let late = node(&self.place, &self.front, Consistency::default()).await;
        for node in self.nodes.iter().chain([&late]) {
            assert_eq!(super::place::n(node, id).await, Some(n));
        }
    }
}

async fn node(place: &Place, front: &Front, consistency: Consistency) -> Collection {
    let redis = Redis::connect(&*front.url()).await.expect("the test server is up");
    let builder = place.builder(&place.url, Some(&redis)).await;
    builder.consistency(consistency).build().expect("the schema is sound")
}

fn port_of(deployment: &Deployment, key: &str) -> u16 {
    deployment.owner_of(key).port()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_primary_is_away_a_change_of_another_one_is_seen_by_every_node() {
    for fault in [Fault::Refuse, Fault::Silent] {
        let scene = Scene::new().await;
        let watch = scene.watched().await;
        scene.leave(fault, &watch).await;
        for round in 2..6 {
            for node in &scene.nodes {
                n(node, scene.well).await;
            }
            // One before it that cannot be told holds nothing up.
            scene.place.put(scene.gone, round).await;
            scene.place.put(scene.well, round).await;
            for node in &scene.nodes {
                sees(node, scene.well, Some(round)).await;
            }
        }
        let found = stats(&watch);
        assert_eq!((found.role, found.replaced, found.clears), (WatchRole::Leading, 0, 1), "{found:?}");
        assert!(found.trouble.is_some(), "{fault:?}: it is told that something is not well");
        let hits: u64 =
            scene.nodes.iter().map(|node| node.stats().near_hits + node.stats().shared_hits).sum();
        assert!(hits > 0, "{fault:?}: it is cached in between");
        scene.proxy().set(Fault::Pass);
        until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
        scene.is_nowhere_read_again(scene.gone, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_primary_that_is_away_is_not_served_from_before_once_it_is_back() {
    let scene = Scene::new().await;
    let watch = scene.watched().await;
    scene.leave(Fault::Refuse, &watch).await;
    scene.put(&watch, scene.gone, 2).await;
    assert!(scene.nodes[0].stats().invalidations_owed > 0);
    scene.proxy().set(Fault::Pass);
    eventually("it is told", SOON, || async {
        assert_eq!(n(&scene.nodes[0], scene.gone).await, Some(2), "the node that knows of it");
        scene.nodes[0].stats().invalidations_owed == 0
    })
    .await;
    sees(&scene.nodes[1], scene.gone, Some(2)).await;
    scene.is_nowhere_read_again(scene.gone, 2).await;
    assert_eq!((stats(&watch).clears, stats(&watch).rewinds), (1, 0), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_owed_is_told_when_it_is_acknowledged_and_what_comes_after_it_then() {
    let scene = Scene::new().await;
    let (watch, mut changes) = watch(&scene.nodes[0]).start_listening().unwrap();
    assert!(matches!(next(&mut changes).await, Some(Told::HistoryLost { .. })));
    scene.leave(Fault::Refuse, &watch).await;
    let (well, gone) = (scene.well, scene.gone);
    for (id, n) in [(well, 2), (gone, 2), (well, 3)] {
        scene.put(&watch, id, n).await;
    }
    sees(&scene.nodes[1], well, Some(3)).await;
    scene.proxy().set(Fault::Pass);
    // The first one at once, since all have forgotten it; and once more, since no point was stored behind it.
    for expected in [Some(well), None, Some(well), Some(gone), Some(well)] {
        let told = match next(&mut changes).await {
            Some(Told::Change { change, .. }) => change.id,
            Some(Told::Resumed { .. }) => None,
            told => panic!("{told:?}"),
        };
        assert_eq!(told, expected.map(Id::Int));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_point_is_stored_while_a_primary_is_away_and_again_when_it_is_back() {
    for consistency in [Consistency::default(), Consistency::Local] {
        let scene = Scene::of(consistency).await;
        let watch = scene.watched().await;
        scene.leave(Fault::Refuse, &watch).await;
        let before = scene.stored();
        for round in 2..5 {
            scene.put(&watch, scene.well, round).await;
            assert_eq!(scene.stored()[0], before[0], "{consistency:?}: nobody knows what the other one has");
            scene.put(&watch, scene.gone, round).await;
        }
        let failures = stats(&watch).failures;
        until(&watch, "it is looked for again and again", |stats| stats.failures > failures + 3).await;
        assert_eq!(scene.stored(), before, "{consistency:?}");
        scene.proxy().set(Fault::Pass);
        until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
        eventually("the point has moved", SOON, || async { scene.stored()[0] != before[0] }).await;
        eventually("the histories were seen", SOON, || async { scene.stored()[1] != before[1] }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_too_another_one_repeats_what_was_owed() {
    let scene = Scene::new().await;
    let first = scene.watched().await;
    let second = watch(&scene.nodes[1]).start().unwrap();
    until(&second, "it stands by", |stats| stats.role == WatchRole::Standby).await;
    scene.leave(Fault::Refuse, &first).await;
    let before = scene.stored();
    scene.put(&first, scene.gone, 2).await;
    // Behind it, so that a point could be stored if one were.
    scene.put(&first, scene.well, 2).await;

    let Scene { place, deployment, front, away, nodes: [leader, other], well, gone } = scene;
    drop((first, leader));
    until(&second, "the other one leads", |stats| stats.role == WatchRole::Leading).await;
    sees(&other, well, Some(2)).await;
    place.put(well, 3).await;
    sees(&other, well, Some(3)).await;
    let late = node(&place, &front, Consistency::default()).await;
    let scene = Scene { place, deployment, front, away, nodes: [late, other], well, gone };
    assert_eq!(scene.stored(), before, "nothing is known of what the point stands on");

    scene.proxy().set(Fault::Pass);
    until(&second, "the trouble is over", |stats| stats.trouble.is_none()).await;
    scene.is_nowhere_read_again(scene.gone, 2).await;
    eventually("the point has moved", SOON, || async { scene.stored()[0] != before[0] }).await;
    assert_eq!((stats(&second).clears, stats(&second).rewinds), (0, 0), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_with_another_history_has_the_changes_before_applied_again() {
    let scene = Scene::new().await;
    let watch = scene.watched().await;
    // A point from long ago.
    let tokens = scene.place.key("cs:t");
    let age = "return redis.call('RPUSH', KEYS[1], '1:' .. string.match(redis.call('LINDEX', KEYS[1], 0), ':(.*)'))";
    assert!(matches!(scene.deployment.owner_of(&tokens).ask(&["EVAL", age, "1", &tokens]), Reply::Int(2..)));
    let many = (1_000..1_040_i64).map(|id| doc! { "_id": id });
    scene.place.things.insert_many(many).await.expect("inserts");
    until(&watch, "all are applied", |stats| stats.changes_of(ChangeKind::Insert) == 40).await;

    scene.deployment.servers()[scene.away].kill();
    until(&watch, "it is noticed", |stats| stats.trouble.is_some()).await;
    scene.put(&watch, scene.gone, 2).await;
    block_in_place(|| scene.deployment.restart_one(scene.away));
    until(&watch, "all are applied again", |stats| stats.changes_of(ChangeKind::Insert) == 80).await;
    until(&watch, "the trouble is over", |stats| stats.trouble.is_none()).await;
    assert_eq!((stats(&watch).rewinds, stats(&watch).clears), (1, 1));
    scene.is_nowhere_read_again(scene.gone, 2).await;
}
