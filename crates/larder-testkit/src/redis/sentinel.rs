//! A primary, a replica and a sentinel that watches over them.

use std::time::Duration;

use super::{
    resp::Reply,
    server::{Options, Server},
};
use crate::wait::holds_within;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// One primary, one replica, and one sentinel that fails over after 500 ms of silence.
#[derive(Debug)]
pub struct Watched {
    primary: Server,
    replica: Server,
    sentinel: Server,
}

impl Watched {
    /// Starts the three and waits until the sentinel knows the replica.
    ///
    /// # Panics
    /// If `redis-server` is not installed or the three do not find each other.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with a sentinel that asks its own clients for this password, unless it is empty.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(sentinel_password: &str) -> Self {
        let primary = Server::start(&Options::default().with(&["--repl-diskless-sync-delay", "0"]));
        let port = primary.port().to_string();
        let replica = Server::start(&Options::default().with(&["--replicaof", "127.0.0.1", &port]));
        let login = match sentinel_password {
            "" => String::new(),
            password => format!("requirepass {password}\n"),
        };
        let sentinel = Server::start_sentinel(
            sentinel_password,
            &format!(
                "{login}sentinel monitor mymaster 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n",
            ),
        );
        let watched = Self { primary, replica, sentinel };
        assert!(holds_within(READY_WITHIN, || watched.is_complete()), "the sentinel finds the replica");
        watched
    }

    /// `redis-sentinel://` with the name of the service.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/mymaster", self.sentinel.port())
    }

    /// The server that was the primary at the start.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// The server that was the replica at the start.
    pub fn replica(&self) -> &Server {
        &self.replica
    }

    fn is_complete(&self) -> bool {
        let in_sync = self
            .replica
            .ask(&["INFO", "replication"])
            .text()
            .is_some_and(|info| info.contains("master_link_status:up"));
        let Reply::Array(replicas) = self.sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]) else {
            return false;
        };
        let ready = |replica: &Reply| {
            let Reply::Array(fields) = replica else { return false };
            let field = |name: &str| {
                let at = fields.iter().position(|field| field.text() == Some(name))?;
                fields.get(at + 1)?.text()
            };
            field("master-link-status") == Some("ok") && field("flags") == Some("slave")
        };
        in_sync && replicas.iter().any(ready)
    }
}
