//! Moving a slot from one primary to another as an operator does: announced, key by key, and announced again.

use std::time::Duration;

use super::{cluster::Cluster, resp::Reply, server::Server};
use crate::wait::holds_within;

/// How long a cluster may be at odds with itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A slot on its way. Until [`finish`](Self::finish) both primaries have a part of it.
#[derive(Debug)]
pub struct Move<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: &'a Server,
    to: &'a Server,
}

impl Cluster {
    /// Announces that a slot moves from one primary to another, each by its place in [`primaries`](Self::primaries).
    ///
    /// # Panics
    /// If a server refuses.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) -> Move<'_> {
        let (from, to, slot) = (&self.primaries()[from], &self.primaries()[to], slot.to_string());
        obeyed(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id_of(from)]);
        obeyed(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id_of(to)]);
        Move { cluster: self, slot, from, to }
    }
}

impl Move<'_> {
    /// Moves this key.
    ///
    /// # Panics
    /// If a server refuses.
    pub fn take(&self, key: &str) {
        let port = self.to.port().to_string();
        let mut reply = Reply::Nil;
        // Primaries on a busy machine take each other for dead now and then, and find out by themselves.
        holds_within(PATIENCE, || {
            reply = self.from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            !matches!(&reply, Reply::Error(error) if error.contains("CLUSTERDOWN"))
        });
        // `NOKEY` if it is gone meanwhile.
        assert!(matches!(reply.text(), Some("OK" | "NOKEY")), "{key} does not move: {reply:?}");
    }

    /// Moves one key, whichever the server names first; false if none is left.
    ///
    /// # Panics
    /// If a server refuses.
    pub fn step(&self) -> bool {
        let Reply::Array(keys) = self.from.ask(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]) else {
            panic!("the server names the keys of a slot")
        };
        let Some(key) = keys.first().and_then(Reply::text) else { return false };
        self.take(key);
        true
    }

    /// Moves what is left and gives the slot to its new owner. All other primaries are told as well.
    ///
    /// # Panics
    /// If a server refuses.
    pub fn finish(self) {
        while self.step() {}
        let owner = id_of(self.to);
        let others = self.cluster.primaries().iter().filter(|node| node.port() != self.to.port());
        // The new owner first: else there is a moment in which nobody owns it.
        for node in [self.to].into_iter().chain(others) {
            obeyed(node, &["CLUSTER", "SETSLOT", &self.slot, "NODE", &owner]);
        }
    }
}

fn id_of(node: &Server) -> String {
    node.ask(&["CLUSTER", "MYID"]).text().expect("a node has an id").to_owned()
}

fn obeyed(node: &Server, order: &[&str]) {
    assert_eq!(node.ask(order).text(), Some("OK"), "{order:?}");
}
