//! The user that the operating guide recommends can do all that is done.

use larder_testkit::redis::{Cluster, Reply};

use super::*;
use crate::{
    Cache, Error,
    cache::Consistency,
    document::{Database, Field, FieldType, IdType, Schema, Watch},
    redis::{PushEvent, key::Space},
};

const GUIDE: &str = include_str!("../../../../../docs/operating.md");

/// The rules after `user larder`, with a password filled in.
fn rules() -> Vec<&'static str> {
    let line = GUIDE.lines().find(|line| line.starts_with("user larder ")).expect("the guide has the line");
    line.split(' ').skip(2).map(|rule| if rule == ">CHANGE-ME" { ">pw" } else { rule }).collect()
}

fn create_user(server: &Server) {
    let created = server.ask(&[&["ACL", "SETUSER", "larder"], &rules()[..]].concat());
    assert_eq!(created.text(), Some("OK"), "{created:?}");
}

async fn works(redis: &Redis) {
    let space = Space::new("larder", "least", crate::redis::DEFAULT_SHARDS, 1).unwrap();
    let (entry, control) = (space.entry(b"k").unwrap(), space.control(b"k").unwrap());
    let set = cmd("SET").arg(&entry).arg("v").arg("NX").arg("GET").arg("PX").arg(5_000).take();
    redis.command(&entry, &set).await.unwrap();
    redis.command(&entry, cmd("PTTL").arg(&entry)).await.unwrap();
    redis.eval(&ECHO, &[&entry, &control], &[b"x"]).await.unwrap();
    redis.command(&entry, cmd("UNLINK").arg(&entry).arg(&control)).await.unwrap();
    let outside = redis.command(b"other", cmd("GET").arg("other")).await.unwrap_err();
    assert!(outside.to_string().contains("NOPERM"), "{outside}");

    let mut subscriber = redis.subscribe([&entry[..]]);
    assert_eq!(subscriber.next().await, Some(PushEvent::Subscribed((&entry[..]).into())));
    redis.command(&entry, cmd("SPUBLISH").arg(&entry).arg("hello")).await.unwrap();
    assert!(matches!(subscriber.next().await, Some(PushEvent::Message { .. })));

    let probe = redis.probe().await.unwrap();
    for primary in &probe.primaries {
        assert!(
            primary.version.is_some() && primary.append_fsync.is_some() && primary.clock_offset_ms.is_some()
        );
    }
}

/// Everything a cache asks of Redis, scripts and what they call included.
async fn caches(redis: &Redis) {
    let strict = Consistency::Strict(Duration::from_secs(1));
    let cache: Cache<String, u32> = Cache::builder("least")
        .redis(redis)
        .consistency(strict)
        .tags(|_, _| vec!["all".into()])
        .build()
        .unwrap();
    let load = || async { Ok(Some(1)) };
    for _ in 0..2 {
        cache.get_with("a", load).await.unwrap();
        cache.invalidate("a").await.unwrap();
        cache.get_with("a", load).await.unwrap();
        cache.invalidate_tag("all").await.unwrap();
        cache.invalidate_pattern("a*").await.unwrap();
        cache.guarded_write(&["a"], async { Ok(()) }).await.unwrap().1.unwrap();
        cache.clear().await.unwrap();
    }
    assert!(
        cache
            .get_with("b", || async { Err::<Option<u32>, _>(Error::new(ErrorKind::Source, "no")) })
            .await
            .is_err()
    );
    let stats = cache.stats();
    assert_eq!((stats.shared_errors, stats.invalidations_owed), (0, 0), "{stats:?}");
    assert!(stats.fills_accepted > 0, "{stats:?}");
}

/// Everything a watch asks of Redis.
async fn watches(redis: &Redis) {
    let schema =
        Schema::new("least-watched", IdType::Int).field(Field::new("at", FieldType::Date).sortable());
    let things = Database::sqlite_in_memory().await.unwrap().collection(schema).redis(redis).build().unwrap();
    let watch = Watch::builder([&things]).updated_at("least-watched", "at");
    let watch = watch.poll_interval(Duration::from_millis(20)).start().unwrap();
    things.insert(bson::doc! { "_id": 1_i64, "at": bson::DateTime::now() }).await.unwrap();
    let is_seen = || async { watch.stats()[0].invalidated > 0 };
    larder_testkit::eventually("the change is seen", Duration::from_secs(10), is_seen).await;
    assert_eq!(watch.stats()[0].failures, 0, "{:?}", watch.stats());
    watch.stop().await;
}

#[tokio::test]
async fn on_one_server() {
    let server = Server::start(&Options::default());
    create_user(&server);
    let redis = Redis::connect(patient(server.url().replace("://", "://larder:pw@"))).await.unwrap();
    works(&redis).await;
    caches(&redis).await;
    watches(&redis).await;
    // Nothing but the key outside was refused, and what only newer servers know.
    let Reply::Array(mut refusals) = server.ask(&["ACL", "LOG"]) else { panic!("ACL LOG is a list") };
    refusals.retain(|refusal| !format!("{refusal:?}").contains("setinfo"));
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test]
async fn on_a_cluster() {
    let cluster = Cluster::start(3, false);
    for node in cluster.primaries() {
        create_user(node);
    }
    let redis = Redis::connect(patient(cluster.url().replace("://", "://larder:pw@"))).await.unwrap();
    works(&redis).await;
    caches(&redis).await;
    watches(&redis).await;
}
