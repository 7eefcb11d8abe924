//! The user that the operating guide recommends can do all that is done.

use std::sync::{Arc, atomic::AtomicBool};

use larder_testkit::redis::{Cluster, Reply};

use super::*;
use crate::{
    Cache, Error, Result,
    cache::{Consistency, Replayed, WriteBehind},
    document::{Database, Field, FieldType, IdType, Schema, Watch},
    redis::{PushEvent, key::Space},
    source::Sink,
};

const GUIDE: &str = include_str!("../../../../../docs/operating.md");

/// The rules after `user larder`, with a password filled in.
fn rules() -> Vec<&'static str> {
    let line = GUIDE.lines().find(|line| line.starts_with("user larder ")).expect("the guide has the line");
    line.split(' ').skip(2).map(|rule| if rule == ">CHANGE-ME" { ">pw" } else { rule }).collect()
}

/// The rules that write-behind needs as well.
fn rules_behind() -> Vec<&'static str> {
    let line = GUIDE.lines().find(|line| line.starts_with("+xlen ")).expect("the guide has the line");
    line.split(' ').collect()
}

/// Makes the user, or allows more to the one that is there.
fn allow(server: &Server, rules: &[&str]) {
    let allowed = server.ask(&[&["ACL", "SETUSER", "larder"], rules].concat());
    assert_eq!(allowed.text(), Some("OK"), "{allowed:?}");
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

/// A database that refuses everything, or nothing.
#[derive(Clone, Default)]
struct Choosy(Arc<AtomicBool>);

impl Choosy {
    fn refuse(&self, refuses: bool) {
        self.0.store(refuses, Ordering::SeqCst);
    }
}

impl Sink<String, u32> for Choosy {
    async fn put(&self, _: &String, _: &u32) -> Result<()> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Source, "no")),
            false => Ok(()),
        }
    }

    async fn remove(&self, _: &String) -> Result<()> {
        Ok(())
    }
}

/// Everything that write-behind asks of Redis, and `larder behind`.
async fn writes_behind(redis: &Redis) {
    let database = Choosy::default();
    let settings = WriteBehind::default().max_delay(Duration::from_millis(1)).attempts(1).backlog(1);
    let settings = settings.retry_pause(Duration::from_millis(1), Duration::from_millis(10));
    let cache: Cache<String, u32> = Cache::builder("least-behind")
        .redis(redis)
        // One, so that two letters are too many.
        .shards(std::num::NonZeroU16::MIN)
        .sink(database.clone())
        .write_behind(settings)
        .build()
        .unwrap();
    let behind = cache.behind().unwrap();
    let is_dead = || async { behind.stats().await.unwrap().dead_letters == 1 };
    let is_done = || async { behind.stats().await.unwrap().backlog == 0 };

    database.refuse(true);
    cache.put(&"a".into(), &1).await.unwrap();
    larder_testkit::eventually("it is refused", Duration::from_secs(10), is_dead).await;
    cache.put(&"b".into(), &1).await.unwrap();
    // No room for another letter: it is tried on.
    let is_tried = || async { behind.stats().await.unwrap().retried > 0 };
    larder_testkit::eventually("it is refused, too", Duration::from_secs(10), is_tried).await;
    database.refuse(false);
    larder_testkit::eventually("the other is done", Duration::from_secs(10), is_done).await;
    assert_eq!(behind.dead_letters(10).await.unwrap().len(), 1);
    assert_eq!(behind.replay("a").await.unwrap(), Replayed::Pending);
    behind.flush().await.unwrap();

    database.refuse(true);
    cache.put(&"c".into(), &1).await.unwrap();
    larder_testkit::eventually("it is refused", Duration::from_secs(10), is_dead).await;
    assert!(behind.discard("c").await.unwrap());
    cache.remove(&"a".into()).await.unwrap();
    behind.flush().await.unwrap();
    cache.close().await;
    let stats = behind.stats().await.unwrap();
    assert_eq!((stats.backlog, stats.dead_letters), (0, 0), "{stats:?}");
}

#[tokio::test]
async fn on_one_server() {
    let server = Server::start(&Options::default());
    allow(&server, &rules());
    let redis = Redis::connect(patient(server.url().replace("://", "://larder:pw@"))).await.unwrap();
    works(&redis).await;
    caches(&redis).await;
    watches(&redis).await;
    allow(&server, &rules_behind());
    writes_behind(&redis).await;
    // Nothing but the key outside was refused, and what only newer servers know.
    let Reply::Array(mut refusals) = server.ask(&["ACL", "LOG"]) else { panic!("ACL LOG is a list") };
    refusals.retain(|refusal| !format!("{refusal:?}").contains("setinfo"));
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test]
async fn on_a_cluster() {
    let cluster = Cluster::start(3, false);
    for node in cluster.primaries() {
        allow(node, &rules());
    }
    let redis = Redis::connect(patient(cluster.url().replace("://", "://larder:pw@"))).await.unwrap();
    works(&redis).await;
    caches(&redis).await;
    watches(&redis).await;
    for node in cluster.primaries() {
        allow(node, &rules_behind());
    }
    writes_behind(&redis).await;
}
