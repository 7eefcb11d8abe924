//! One node of a contender: its way to read, and to invalidate.

use std::{sync::Arc, time::Duration};

use hitbox::{Extractor, policy::PolicyConfig};
use hitbox_backend::Backend;
use hitbox_fn::{Arg, Args, FnExtractor, cached};
use hitbox_redis::{ConnectionMode, RedisBackend};
use larder::{
    Cache, Policy,
    cache::Consistency,
    document::{Collection, Id},
    redis::Redis,
};
use redis::{
    AsyncCommands, Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
    caching::CacheConfig,
};

use super::{
    Failure,
    database::{Database, NUMBER},
};

/// Clones are one node.
#[derive(Clone)]
pub enum Node {
    /// A cache of values.
    Larder(Cache<String, u64>),
    /// A cached collection of a database that others write, too.
    Collection(Collection),
    /// Cache-aside by hand: `GET`, on a miss load and `SET … EX`; `DEL` after a write.
    ByHand {
        /// Connects again by itself.
        connection: ConnectionManager,
        /// The lifetime.
        ttl: Duration,
    },
    /// A function that hitbox remembers; its key is removed after a write.
    Hitbox(hitbox_fn::Cache<RedisBackend>),
}

const REMEMBERED: &str = "number";

#[cached(prefix = "number", skip(_database, _takes))]
async fn number(key: u64, _database: Arc<Database>, _takes: Duration) -> u64 {
    _database.read(key as usize, _takes).await.expect("no fault lies on the way to the database")
}

impl Node {
    /// Larder over a Redis. The cache of each scene has a name of its own: strict writers would wait for nodes of the one before.
    ///
    /// # Errors
    /// When Redis is not there.
    pub async fn larder(
        url: &str,
        name: &str,
        ttl: Duration,
        consistency: Consistency,
    ) -> Result<Self, Failure> {
        let redis = Redis::connect(url).await?;
        let policy = Policy::ttl(ttl).near_ttl(ttl);
        let cache = Cache::builder(name).redis(&redis).policy(policy).consistency(consistency);
        Ok(Self::Larder(cache.build()?))
    }

    /// Cache-aside by hand, with copies in the client (RESP3 tracking) or without.
    ///
    /// # Errors
    /// When Redis is not there.
    pub async fn by_hand(url: &str, ttl: Duration, has_copies: bool) -> Result<Self, Failure> {
        let client = Client::open(format!("{url}/?protocol=resp3"))?;
        let mut config = ConnectionManagerConfig::new();
        if has_copies {
            config = config.set_cache_config(CacheConfig::default());
        }
        Ok(Self::ByHand { connection: ConnectionManager::new_with_config(client, config).await?, ttl })
    }

    /// hitbox over a Redis.
    ///
    /// # Errors
    /// When the URL is wrong.
    pub fn hitbox(url: &str, ttl: Duration) -> Result<Self, Failure> {
        let backend = RedisBackend::builder().connection(ConnectionMode::single(url)).build()?;
        let cache = hitbox_fn::Cache::builder().backend(backend);
        Ok(Self::Hitbox(cache.policy(PolicyConfig::builder().ttl(ttl).build()).build()))
    }

    /// What the cache has, or the database, whose answer takes so long; `None` if the read failed.
    pub async fn read(&mut self, database: &Arc<Database>, key: usize, takes: Duration) -> Option<u64> {
        let text = name(key);
        match self {
            Self::Larder(cache) => {
                let database = database.clone();
                let load = async move || Ok(database.read(key, takes).await.ok());
                cache.get_with(&*text, load).await.ok()?.as_deref().copied()
            }
            Self::Collection(collection) => {
                let document = collection.get(&Id::Int(key as i64)).await.ok()??;
                document.raw().get_i64(NUMBER).ok().map(|number| number as u64)
            }
            Self::ByHand { connection, ttl } => {
                // If Redis fails, the database is asked, as whoever is careful writes it.
                if let Ok(Some(number)) = connection.get::<_, Option<u64>>(&text).await {
                    return Some(number);
                }
                let number = database.read(key, takes).await.ok()?;
                let _ = connection.set_ex::<_, _, ()>(&text, number, ttl.as_secs()).await;
                Some(number)
            }
            Self::Hitbox(cache) => Some(number(key as u64, database.clone(), takes).cache(&*cache).await),
        }
    }

    /// Whether it was acknowledged that what is cached is forgotten.
    pub async fn invalidate(&mut self, key: usize) -> bool {
        match self {
            Self::Larder(cache) => cache.invalidate(&*name(key)).await.is_ok(),
            Self::Collection(collection) => collection.invalidate(&Id::Int(key as i64)).await.is_ok(),
            Self::ByHand { connection, .. } => connection.del::<_, ()>(&name(key)).await.is_ok(),
            Self::Hitbox(cache) => {
                let parts = FnExtractor::new(REMEMBERED).get(Args((Arg::new("key", key as u64),))).await;
                cache.backend().remove(&parts.into_cache_key().1).await.is_ok()
            }
        }
    }
}

fn name(key: usize) -> String {
    format!("k{key}")
}
