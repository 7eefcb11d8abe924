//! Redis servers: the shared one, and private ones that a test may break.

mod cluster;
mod deployment;
mod disk;
mod monitor;
mod pair;
mod resharding;
mod resp;
mod sentinel;
mod server;

use std::{env, sync::OnceLock};

pub use self::{
    cluster::Cluster,
    deployment::Deployment,
    monitor::Monitor,
    pair::Pair,
    resharding::Move,
    resp::Reply,
    sentinel::Watched,
    server::{Fsync, Options, Server, Tls},
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

/// Sends one command to the server at `url`, over a connection of its own. Of a cluster's several addresses any will do:
/// the command goes on to the server that owns its key.
///
/// # Panics
/// If the URL has no port, or the server does not answer.
pub fn ask(url: &str, command: &[&str]) -> Reply {
    let port_of = |address: &str| address.rsplit(':').next().and_then(|port| port.parse().ok());
    let mut port = port_of(url).expect("the URL ends with a port");
    loop {
        let reply =
            resp::ask(port, None, command).unwrap_or_else(|error| panic!("{command:?} at {url}: {error}"));
        match &reply {
            Reply::Error(error) if error.starts_with("MOVED ") => {
                port = port_of(error).expect("a redirection names a port");
            }
            _ => return reply,
        }
    }
}
