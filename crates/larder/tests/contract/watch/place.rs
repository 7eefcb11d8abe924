//! A collection in MongoDB, as the driver sees it and as Larder does, and what the tests of its watch share.

use std::time::Duration;

use bson::{Document, doc};
use larder::{
    document::{
        Changes, Collection, CollectionBuilder, Database, Field, FieldType, Id, IdType, Schema, Told, Watch,
        WatchBuilder, WatchStats,
    },
    redis::Redis,
};
use larder_testkit::{
    eventually,
    mongo::{self, Server},
    redis::Deployment,
};
use tokio::time::timeout;

use crate::setup::{Backend, Setup, lasting};

pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Short, so that a takeover is no long wait; long enough for a busy machine.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// One collection of one test.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) name: String,
    /// What a program without Larder writes with.
    pub(crate) things: mongodb::Collection<Document>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::on(mongo::shared()).await
    }

    pub(crate) async fn on(server: &Server) -> Self {
        Self::at(&server.url(&mongo::database_name())).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let client = mongodb::Client::with_uri_str(url).await.expect("the test's URL is sound");
        let database = client.default_database().expect("the URL names a database");
        // Its own in Redis as well: the database is not part of the keys.
        let name = Setup::new(Backend::Memory).name;
        Self { url: url.to_owned(), things: database.collection(&name), name }
    }

    /// The collection as a node of its own has it.
    pub(crate) async fn node(&self, redis: Option<&Redis>) -> Collection {
        self.node_at(&self.url, redis).await
    }

    /// The same over another way to the database.
    pub(crate) async fn node_at(&self, url: &str, redis: Option<&Redis>) -> Collection {
        self.builder(url, redis).await.build().expect("the schema is sound")
    }

    pub(crate) async fn builder(&self, url: &str, redis: Option<&Redis>) -> CollectionBuilder {
        self.builder_within(Duration::from_secs(10), url, redis).await
    }

    /// The same for a database that is given up after so long.
    pub(crate) async fn builder_within(
        &self,
        deadline: Duration,
        url: &str,
        redis: Option<&Redis>,
    ) -> CollectionBuilder {
        let database = Database::mongo(url).await.expect("the test's URL is sound").with_deadline(deadline);
        let schema =
            Schema::new(&*self.name, IdType::Int).field(Field::new("n", FieldType::Int)).strict(false);
        let builder = database.collection(schema).policy(lasting());
        match redis {
            Some(redis) => builder.redis(redis),
            None => builder,
        }
    }

    /// Nodes as the backend allows: two that share a Redis, or one alone.
    pub(crate) async fn nodes(&self, backend: Backend) -> Vec<Collection> {
        let count = if backend == Backend::Memory { 1 } else { 2 };
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.node(backend.connect().await.as_ref()).await);
        }
        nodes
    }

    /// One of the keys in Redis that belong to its watch.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{larder.{}.00}}:v1:{name}", self.name)
    }

    pub(crate) async fn rename(&self, to: &str) {
        let here = self.things.namespace();
        let command = doc! { "renameCollection": here.to_string(), "to": format!("{}.{to}", here.db) };
        self.things.client().database("admin").run_command(command).await.expect("a rename");
    }

    pub(crate) async fn put(&self, id: i64, n: i64) {
        let whole = doc! { "_id": id, "n": n };
        // The first try after an outage may meet a connection from before it.
        eventually("a write", SOON, || async {
            self.things.replace_one(doc! { "_id": id }, &whole).upsert(true).await.is_ok()
        })
        .await;
    }
}

/// A handle of its own on servers of the test's own.
pub(crate) async fn connect(deployment: &Deployment) -> Redis {
    Redis::connect(&*deployment.url()).await.expect("the test server is up")
}

/// A watch with a short lease.
pub(crate) fn watch(node: &Collection) -> WatchBuilder {
    Watch::builder([node]).lease(LEASE)
}

/// What a cached read answers.
pub(crate) async fn n(node: &Collection, id: i64) -> Option<i64> {
    read(node, id).await.expect("a read")
}

/// The same when the database may be away.
pub(crate) async fn read(node: &Collection, id: i64) -> larder::Result<Option<i64>> {
    let found = node.get(&Id::Int(id)).await?;
    Ok(found.map(|document| document.raw().get_i64("n").expect("a number")))
}

/// Returns when cached reads answer this. The database may be away meanwhile.
pub(crate) async fn sees(node: &Collection, id: i64, expected: Option<i64>) {
    eventually("the change is seen", SOON, || async { read(node, id).await.is_ok_and(|n| n == expected) })
        .await;
}

pub(crate) fn stats(watch: &Watch) -> WatchStats {
    watch.stats().pop().expect("one collection is watched")
}

pub(crate) async fn until(watch: &Watch, what: &str, holds: impl Fn(&WatchStats) -> bool) {
    eventually(what, SOON, || async { holds(&stats(watch)) }).await;
}

/// What a listener is told next, or `None` at the end.
pub(crate) async fn next(changes: &mut Changes) -> Option<Told> {
    timeout(SOON, changes.next()).await.expect("something is told, or the end")
}

/// Returns when one of the nodes applies changes.
pub(crate) async fn until_led(watches: &[&Watch]) -> usize {
    let leader = || watches.iter().position(|watch| stats(watch).role.is_active());
    eventually("somebody leads", SOON, || async { leader().is_some() }).await;
    leader().expect("somebody leads")
}
