//! Larder over a database that another program writes past it: who watches it, and how soon a write is seen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::doc;
use larder::{
    Policy,
    cache::Consistency,
    document::{Database as LarderDatabase, Field, FieldType, IdType, Schema, Watch},
    redis::Redis,
};
use larder_testkit::{
    eventually,
    mongo::{Origin, Server},
};
use tokio::{task::JoinSet, time::sleep};

use super::{
    BOUND, Failure, KEYS, NODES, TTL_PAST,
    database::{Database, NAME, NUMBER, UPDATED_AT},
    dice::Dice,
    node::Node,
};
use crate::report::percentile;

/// How Larder hears of a write past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The change stream.
    Feed,
    /// A query each second for what was updated since.
    Poll,
}

/// How many keys have a write of their own followed until all nodes show it.
pub const FOLLOWED: usize = 16;

/// Three nodes, and their watches.
pub struct Watched {
    /// What reads.
    pub nodes: Vec<Node>,
    _watches: Vec<Watch>,
}

impl Watched {
    /// Opens the nodes on a database, and returns when one of them follows what is written there.
    ///
    /// # Errors
    /// When Redis or the database is not there.
    pub async fn open(url: &str, server: &Server, database: &str, by: By) -> Result<Self, Failure> {
        let database = match by {
            By::Feed => server.url(database),
            By::Poll => without_streams(server, database),
        };
        let (mut nodes, mut watches) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let redis = Redis::connect(url).await?;
            let database = LarderDatabase::mongo(database.as_str()).await?;
            let policy = Policy::ttl(TTL_PAST).near_ttl(TTL_PAST);
            let builder = database.collection(schema()).redis(&redis).policy(policy);
            let node = builder.consistency(Consistency::Bounded(BOUND)).build()?;
            watches.push(Watch::builder([&node]).updated_at(NAME, UPDATED_AT).start()?);
            nodes.push(Node::Collection(node));
        }
        let leads = |watch: &Watch| watch.stats().iter().any(|stats| stats.role.is_active());
        eventually("one node follows what is written", Duration::from_secs(20), || async {
            watches.iter().any(leads)
        })
        .await;
        Ok(Self { nodes, _watches: watches })
    }
}

/// Whether this server can be made to have no change streams.
pub fn can_poll(server: &Server) -> bool {
    server.origin() != Origin::Given
}

/// The URL for a client to whom the server answers as one without a replica set.
fn without_streams(server: &Server, database: &str) -> String {
    let name = "without-streams";
    let data = doc! { "failCommands": ["aggregate"], "errorCode": 40573, "appName": name };
    let refuse = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
    server.command("admin", refuse);
    format!("{}&appName={name}", server.url(database))
}

fn schema() -> Schema {
    let updated = Field::new(UPDATED_AT, FieldType::Date).filterable().sortable();
    Schema::new(NAME, IdType::Int).field(Field::new(NUMBER, FieldType::Int)).field(updated)
}

/// From the end of a write past the cache until all nodes have shown it, in ms, again and again for so long.
///
/// # Errors
/// When the database fails.
pub async fn follow(nodes: &[Node], database: &Arc<Database>, lasts: Duration) -> Result<Vec<f64>, Failure> {
    let ends = Instant::now() + lasts;
    let mut followers = JoinSet::new();
    for key in KEYS..KEYS + FOLLOWED {
        let dice = Dice(key as u64);
        followers.spawn(follow_key(nodes.to_vec(), database.clone(), key, dice, ends));
    }
    let mut took = Vec::new();
    while let Some(ended) = followers.join_next().await {
        took.extend(ended??);
    }
    Ok(took)
}

async fn follow_key(
    mut nodes: Vec<Node>,
    database: Arc<Database>,
    key: usize,
    mut dice: Dice,
    ends: Instant,
) -> Result<Vec<f64>, Failure> {
    let mut took = Vec::new();
    while Instant::now() < ends {
        // Now each has a copy.
        for node in &mut nodes {
            node.read(&database, key, Duration::ZERO).await;
        }
        // At any moment between two polls.
        sleep(Duration::from_millis(50 + dice.below(1_000))).await;
        let wanted = database.grow(key).await?;
        let written = Instant::now();
        let mut behind = nodes.clone();
        while let Some(node) = behind.last_mut() {
            match node.read(&database, key, Duration::ZERO).await {
                Some(number) if number >= wanted => drop(behind.pop()),
                _ => sleep(Duration::from_millis(1)).await,
            }
        }
        took.push(written.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}

/// Prints what [`follow`] has seen.
pub fn print(part: &str, name: &str, took: &[f64]) {
    let seen = "from a write past the cache until all nodes show it";
    println!("{part},{name}: writes followed,{},", took.len());
    for (percent, word) in [(50.0, "p50"), (99.0, "p99"), (100.0, "the longest")] {
        println!("{part},{name}: {seen}: {word},{:.1},ms", percentile(took, percent));
    }
}
