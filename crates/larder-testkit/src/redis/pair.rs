//! A primary of a cluster and its replica, which change places.

use std::time::Duration;

use super::{cluster::Cluster, server::Server};
use crate::wait::holds_within;

/// Long enough for an election on a machine that is busy compiling.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(30);

/// The two servers that have one part of the slots between them.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    first: &'a Server,
    second: &'a Server,
}

impl Cluster {
    /// The servers of one part of the slots, by its place in [`primaries`](Self::primaries).
    ///
    /// # Panics
    /// If the cluster was started without replicas.
    pub fn pair(&self, place: usize) -> Pair<'_> {
        Pair { first: &self.primaries()[place], second: &self.replicas()[place] }
    }
}

impl<'a> Pair<'a> {
    /// The present primary, and the replica that is to be the next.
    fn roles(&self) -> (&'a Server, &'a Server) {
        if replication(self.first, "role:master") {
            (self.first, self.second)
        } else {
            (self.second, self.first)
        }
    }

    /// The replica takes over in good order (`CLUSTER FAILOVER`): nothing is lost. Returns when it is the primary and has a
    /// replica in the old one.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn change_places(&self) {
        let (primary, replica) = self.roles();
        assert_eq!(replica.ask(&["CLUSTER", "FAILOVER"]).text(), Some("OK"));
        took_over(replica);
        is_followed(primary);
    }

    /// Returns when the replica has everything that was written until now.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn in_step(&self) {
        let (primary, replica) = self.roles();
        let is = || offset(primary, "master_repl_offset:") == offset(replica, "slave_repl_offset:");
        assert!(holds_within(TAKES_OVER_WITHIN, is), "the replica has everything");
    }

    /// From now on the replica hears of no write: its primary turns it away.
    ///
    /// # Panics
    /// If a server refuses.
    pub fn keep_the_replica_behind(&self) {
        let (primary, replica) = self.roles();
        replica.ask(&["CONFIG", "SET", "masteruser", "nobody"]);
        replica.ask(&["CONFIG", "SET", "masterauth", "wrong"]);
        primary.ask(&["CLIENT", "KILL", "TYPE", "replica"]);
        let is_alone = || replication(replica, "master_link_status:down");
        assert!(holds_within(TAKES_OVER_WITHIN, is_alone), "the replica is turned away");
    }

    /// The replica takes over at once with what it has, and without asking (`CLUSTER FAILOVER TAKEOVER`); the old primary,
    /// alive all the time, throws away what it alone knew.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn seize(&self) {
        let (primary, replica) = self.roles();
        assert_eq!(replica.ask(&["CLUSTER", "FAILOVER", "TAKEOVER"]).text(), Some("OK"));
        took_over(replica);
        let_in(replica);
        is_followed(primary);
    }

    /// Kills the primary; the replica takes over with what it has. Then the killed one comes back, empty, as its replica.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn lose_the_primary(&self) {
        let (primary, replica) = self.roles();
        primary.kill();
        took_over(replica);
        let_in(replica);
        primary.restart();
        is_followed(primary);
    }
}

/// When it is a replica again it is not turned away.
fn let_in(replica: &Server) {
    replica.ask(&["CONFIG", "SET", "masteruser", ""]);
    replica.ask(&["CONFIG", "SET", "masterauth", ""]);
}

fn took_over(replica: &Server) {
    let rules = || replication(replica, "role:master");
    assert!(holds_within(TAKES_OVER_WITHIN, rules), "the replica takes over");
}

/// The old primary has become a replica and has everything.
fn is_followed(old: &Server) {
    let follows = || replication(old, "role:slave") && replication(old, "master_link_status:up");
    assert!(holds_within(TAKES_OVER_WITHIN, follows), "the old primary follows the new one");
}

fn offset(server: &Server, field: &str) -> String {
    let info = server.ask(&["INFO", "replication"]);
    let line = info.text().and_then(|info| Some(info.split_once(field)?.1.lines().next()?.to_owned()));
    line.expect("a server tells how far it is")
}

fn replication(server: &Server, word: &str) -> bool {
    server.ask(&["INFO", "replication"]).text().is_some_and(|info| info.contains(word))
}
