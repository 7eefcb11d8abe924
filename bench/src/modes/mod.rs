//! What each mode of reading and of forgetting is worth, one scene for each, beside the same without it.

pub mod absent;
pub mod adaptive;
pub mod conditional;
pub mod failing;
pub mod hot;
pub mod keys;
pub mod lists;
pub mod partial;
pub mod purge;
pub mod reader;

use std::error::Error;

use larder::{Cache, Policy, cache::CacheBuilder, redis::Redis};
use serde::{Serialize, de::DeserializeOwned};

/// What a scene is given.
#[derive(Debug)]
pub struct Lab {
    /// The Redis of this run.
    pub redis_url: String,
    /// Whether the figures are to be published.
    pub full: bool,
    /// Which round this is: each has keys of its own.
    pub round: usize,
}

impl Lab {
    /// A connection of its own.
    ///
    /// # Errors
    /// When there is no Redis.
    pub async fn redis(&self) -> larder::Result<Redis> {
        Redis::connect(self.redis_url.as_str()).await
    }

    /// A cache over Redis with keys that no other has.
    pub fn cache<V>(&self, redis: &Redis, name: &str, policy: Policy) -> CacheBuilder<String, V>
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Cache::builder(format!("{name}-{}", self.round)).redis(redis).policy(policy.jitter(0.0))
    }

    /// Bytes that Redis has received and sent so far.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn bytes(&self) -> Result<[f64; 2], Box<dyn Error>> {
        let mut plain =
            redis::Client::open(self.redis_url.as_str())?.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut plain).await?;
        let number = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|text| text.trim().parse().ok()).ok_or_else(|| format!("no {name} in INFO"))
        };
        Ok([number("total_net_input_bytes")?, number("total_net_output_bytes")?])
    }
}
