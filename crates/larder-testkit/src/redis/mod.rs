//! Redis servers: the shared one, and private ones that a test may break.

mod cluster;
mod resp;
mod sentinel;
mod server;

use std::{env, sync::OnceLock};

pub use self::{
    cluster::{Cluster, Migration},
    resp::Reply,
    sentinel::Watched,
    server::{Options, Server, Tls},
};

/// The URL of the Redis server all tests of this process share: `LARDER_TEST_REDIS` if that is set, else a server of
/// our own without persistence. Use a key prefix of your own on it, and flush nothing.
///
/// # Panics
/// If `redis-server` is not installed.
pub fn single() -> String {
    static SINGLE: OnceLock<Server> = OnceLock::new();
    env::var("LARDER_TEST_REDIS")
        .unwrap_or_else(|_| SINGLE.get_or_init(|| Server::start(&Options::default())).url())
}

/// The URL of the Redis Cluster all tests of this process share: `LARDER_TEST_REDIS_CLUSTER` if that is set, else three
/// primaries of our own. Use a key prefix of your own on it, and flush nothing.
///
/// # Panics
/// If `redis-server` is not installed.
pub fn cluster() -> String {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    env::var("LARDER_TEST_REDIS_CLUSTER")
        .unwrap_or_else(|_| CLUSTER.get_or_init(|| Cluster::start(3, false)).url())
}
