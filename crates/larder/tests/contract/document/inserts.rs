//! Inserts into collections that write around: what is inserted is found, though it was known not to be there.

use std::{pin::pin, time::Duration};

use bson::doc;
use futures_util::poll;
use larder::{
    Policy,
    document::{Collection, Id},
};

use super::world::{World, in_every_world};

const MINUTE: Duration = Duration::from_secs(60);

async fn node(world: &World) -> Collection {
    let builder = world.database.collection(world.schema());
    let builder = builder.policy(Policy::ttl(MINUTE).jitter(0.0).negative_ttl(MINUTE));
    match world.tier.connect().await {
        Some(redis) => builder.redis(&redis).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

async fn is_found(node: &Collection, id: &Id) -> bool {
    node.get(id).await.unwrap().is_some()
}

/// Polls a write until the database has the document, and drops it there.
async fn leave_when_done<T>(write: impl Future<Output = T>, world: &World, id: &Id) {
    let mut write = pin!(write);
    // A new look each time: one that found nothing would be cached.
    while poll!(&mut write).is_pending() && !is_found(&world.past(), id).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_whose_caller_goes_away_is_found_all_the_same() {
    in_every_world("insert", |world| async move {
        let node = node(&world).await;
        for number in 0..4 {
            let (id, document) = (Id::Int(number), doc! { "_id": number, "name": "new" });
            assert!(!is_found(&node, &id).await);
            match number % 2 {
                0 => leave_when_done(node.insert(document), &world, &id).await,
                _ => leave_when_done(node.insert_many(&[document]), &world, &id).await,
            }
            assert!(is_found(&node, &id).await, "{:?}, {id}", world.tier);
        }
    })
    .await;
}
