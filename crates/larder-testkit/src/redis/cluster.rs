//! A Redis Cluster of our own.

use std::time::Duration;

use super::{
    resp::Reply,
    server::{Options, Server},
};
use crate::wait::holds_within;

const SLOTS: usize = 16_384;
/// Long enough for a machine that is busy compiling.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Primaries that share the slots evenly, and for each of them as many replicas as asked for.
#[derive(Debug)]
pub struct Cluster {
    primaries: Vec<Server>,
    /// So many of them, the first, have slots at the start.
    owners: usize,
    replicas: Vec<Server>,
}

impl Cluster {
    /// Starts `primaries` servers and one replica for each if `replicated`, joins them, and waits until the cluster
    /// says it is well. A primary counts as failed after 500 ms of silence.
    ///
    /// # Panics
    /// If `redis-server` is not installed or the cluster does not come up.
    pub fn start(primaries: usize, replicated: bool) -> Self {
        Self::start_with(primaries, replicated, &Options::default())
    }

    /// The same with further options for each server.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(primaries: usize, replicated: bool, options: &Options) -> Self {
        Self::start_of(primaries, primaries, replicated, options)
    }

    /// Without replicas, and with one more primary, the last, that has no slots yet.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with_newcomer(owners: usize) -> Self {
        Self::start_of(owners, owners + 1, false, &Options::default())
    }

    fn start_of(owners: usize, primaries: usize, replicated: bool, options: &Options) -> Self {
        let options = options.clone().with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "500",
            // Alone among three, a replica may still stand for election after the shortest of delays.
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ]);
        let start = |count| (0..count).map(|_| Server::start(&options)).collect::<Vec<_>>();
        let replicas = start(if replicated { primaries } else { 0 });
        let cluster = Self { primaries: start(primaries), owners, replicas };
        cluster.share_slots();
        cluster.meet();
        cluster.await_all("every node knows every other", |node, cluster| {
            info(node, "cluster_known_nodes") == Some(cluster.nodes().count().to_string())
        });
        for (replica, primary) in cluster.replicas.iter().zip(&cluster.primaries) {
            let id = primary.ask(&["CLUSTER", "MYID"]);
            let id = id.text().expect("a node has an id");
            // The replica learns of the primary by gossip, so the first tries may come too early.
            let follows = || replica.ask(&["CLUSTER", "REPLICATE", id]).text() == Some("OK");
            assert!(holds_within(READY_WITHIN, follows), "the replica follows its primary");
        }
        cluster.await_well();
        for replica in &cluster.replicas {
            let in_sync = || {
                replica
                    .ask(&["INFO", "replication"])
                    .text()
                    .is_some_and(|it| it.contains("master_link_status:up"))
            };
            assert!(holds_within(READY_WITHIN, in_sync), "the replica is in sync");
        }
        cluster
    }

    /// `redis-cluster://` with all primaries as seeds.
    pub fn url(&self) -> String {
        let seeds: Vec<_> = self.nodes().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", seeds.join(","))
    }

    /// The servers that were primaries at the start; each owns a third of the slots if there are three, in order.
    pub fn primaries(&self) -> &[Server] {
        &self.primaries
    }

    pub(super) fn replicas(&self) -> &[Server] {
        &self.replicas
    }

    /// The place in [`primaries`](Self::primaries) of the third, or other part, of the slots that `key` belongs to, and its
    /// slot.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn place_of(&self, key: &str) -> (usize, u16) {
        let Reply::Int(slot) = self.primaries[0].ask(&["CLUSTER", "KEYSLOT", key]) else {
            panic!("a key has a slot")
        };
        (slot as usize * self.owners / SLOTS, slot as u16)
    }

    fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.primaries.iter().chain(&self.replicas)
    }

    fn share_slots(&self) {
        let count = self.owners;
        for (index, node) in self.primaries.iter().enumerate() {
            if index < count {
                let first = (index * SLOTS / count).to_string();
                let last = ((index + 1) * SLOTS / count - 1).to_string();
                node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            // Epochs that differ from the start spare the nodes a conflict.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
    }

    fn meet(&self) {
        let first = &self.primaries[0];
        for node in self.nodes().skip(1) {
            first.ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
    }

    /// Returns when every node says that the cluster is well.
    ///
    /// # Panics
    /// If it does not come to that.
    pub(super) fn await_well(&self) {
        self.await_all("the cluster is well", |node, _| info(node, "cluster_state").as_deref() == Some("ok"));
    }

    fn await_all(&self, what: &str, condition: impl Fn(&Server, &Self) -> bool) {
        let all = || self.nodes().all(|node| condition(node, self));
        assert!(holds_within(READY_WITHIN, all), "not within {READY_WITHIN:?}: {what}");
    }
}

fn info(node: &Server, field: &str) -> Option<String> {
    let Reply::Text(info) = node.ask(&["CLUSTER", "INFO"]) else { return None };
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}
