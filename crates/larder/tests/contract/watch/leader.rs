//! Several nodes that watch one collection: one leads.

use larder::document::{Watch, WatchRole};
use larder_testkit::eventually;

use super::{
    place::{Place, SOON, sees, stats, until, until_led, watch},
    process::Process,
};
use crate::setup::{Backend, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn one_node_leads_and_when_it_stops_another_one_goes_on() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let nodes = place.nodes(backend).await;
        let watches: Vec<Watch> = nodes.iter().map(|node| watch(node).start().unwrap()).collect();
        let leader = until_led(&watches.iter().collect::<Vec<_>>()).await;
        let other = 1 - leader;
        until(&watches[other], "the other one stands by", |stats| stats.role == WatchRole::Standby).await;
        place.put(1, 1).await;
        for node in &nodes {
            sees(node, 1, Some(1)).await;
        }
        assert_eq!(stats(&watches[other]).invalidated, 0, "{backend:?}: it applies nothing");

        watches[leader].stop().await;
        assert_eq!(stats(&watches[leader]).role, WatchRole::Stopped);
        until(&watches[other], "the other one leads", |stats| stats.role == WatchRole::Leading).await;
        place.put(1, 2).await;
        for node in &nodes {
            sees(node, 1, Some(2)).await;
        }
        assert_eq!(stats(&watches[other]).clears, 0, "{backend:?}: it went on where the first one stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_ends_a_watch() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let nodes = place.nodes(backend).await;
        let first = watch(&nodes[0]).start().unwrap();
        until_led(&[&first]).await;
        let clone = first.clone();
        drop(first);
        let second = watch(&nodes[1]).start().unwrap();
        until(&second, "it stands by", |stats| stats.role == WatchRole::Standby).await;
        assert_eq!(stats(&clone).role, WatchRole::Leading);
        drop(clone);
        until(&second, "it leads when the lease has run out", |stats| stats.role == WatchRole::Leading).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_past_its_lease_cannot_set_the_point_back() {
    for backend in Backend::SHARED {
        let place = Place::new().await;
        let old = Process::start(&place, async move |place| {
            let redis = backend.connect().await;
            place.node(redis.as_ref()).await
        })
        .await;
        until_led(&[&old.watch]).await;
        place.put(1, 1).await;
        sees(&old.node, 1, Some(1)).await;
        let node = place.node(backend.connect().await.as_ref()).await;
        let new = watch(&node).start().unwrap();
        until(&new, "it stands by", |stats| stats.role == WatchRole::Standby).await;

        let thaw = old.freeze().await;
        until(&new, "it takes over", |stats| stats.role == WatchRole::Leading).await;
        place.put(1, 2).await;
        sees(&node, 1, Some(2)).await;
        place.put(1, 3).await;
        sees(&node, 1, Some(3)).await;
        until(&new, "all is applied", |stats| stats.invalidated >= 2).await;
        let setup = Setup { backend, ..Setup::new(backend) };
        let fence = || setup.ask(&["HGET", &place.key("cs"), "fence"]);
        let points = || setup.ask(&["LRANGE", &place.key("cs:t"), "0", "-1"]);
        let (fence_before, points_before) = (fence(), points());

        drop(thaw);
        until(&old.watch, "it has noticed", |stats| stats.replaced == 1).await;
        until(&old.watch, "it stands by", |stats| stats.role == WatchRole::Standby).await;
        sees(&old.node, 1, Some(3)).await;
        assert_eq!((fence(), points()), (fence_before, points_before), "{backend:?}");
        assert_eq!((stats(&new).role, stats(&new).replaced), (WatchRole::Leading, 0));
        place.put(1, 4).await;
        eventually("both see what comes after", SOON, || async {
            sees(&old.node, 1, Some(4)).await;
            sees(&node, 1, Some(4)).await;
            true
        })
        .await;
    }
}
