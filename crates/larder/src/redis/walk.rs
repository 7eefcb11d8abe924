//! Going through the keys of one server by bounded steps, and knowing of which slots it had all while it did.
//!
//! `SCAN` tells of what a server has at the moment; the slots of a cluster may be on the move meanwhile. So every step asks, in the
//! same write, for a key of each slot that is never there: the owner of a whole slot says that it is not there, one that
//! is giving the slot away sends on with `ASK`, all others with `MOVED`. A key that was in a whole slot at every step was there
//! when the cursor came by.

use std::{sync::Arc, time::Duration};

use ::redis::{Pipeline, Value, cmd};

#[cfg(test)]
use super::simulated::Wire;
use super::{Redis, link::Link, topology::Topology};
use crate::{Error, ErrorKind, Result};

/// A way through the keys of one server, on one connection: another one may lead to a server on which the cursor says
/// nothing.
pub(crate) struct Walk {
    redis: Redis,
    way: Way,
    generation: Option<u64>,
    is_cluster: bool,
    cursor: Vec<u8>,
}

/// To one server.
enum Way {
    Link(Arc<Link>),
    #[cfg(test)]
    Simulated(Wire),
}

/// What one step found.
pub(crate) struct Step {
    pub(crate) keys: Vec<Value>,
    pub(crate) is_last: bool,
    /// For each key that is never there, whether the server owned its slot, and all of it.
    pub(crate) is_whole: Vec<bool>,
}

impl Redis {
    /// The servers which have these keys by what is known here, each with the places of its keys.
    ///
    /// # Errors
    /// `Unavailable` if a slot has no primary.
    pub(crate) fn walks(&self, keys: &[Vec<u8>]) -> Result<Vec<(Walk, Vec<usize>)>> {
        let topology = &self.inner.ears.topology;
        let mut walks: Vec<(Walk, Vec<usize>)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let way = Way::to(topology, key)?;
            match walks.iter_mut().find(|(walk, _)| walk.way.leads_where(&way)) {
                Some((_, places)) => places.push(place),
                None => {
                    let walk = Walk {
                        redis: self.clone(),
                        generation: way.live_generation(),
                        way,
                        is_cluster: topology.is_cluster(),
                        cursor: b"0".to_vec(),
                    };
                    walks.push((walk, vec![place]));
                }
            }
        }
        Ok(walks)
    }

    /// Has the layout of a cluster looked at again.
    pub(crate) fn doubt_layout(&self) {
        self.inner.ears.topology.doubt();
    }
}

impl Way {
    /// To the server that has this key, by what is known here.
    ///
    /// # Errors
    /// `Unavailable` if its slot has no primary.
    fn to(topology: &Topology, key: &[u8]) -> Result<Self> {
        match topology {
            Topology::Single(_) | Topology::Cluster(_) => topology.owner(key).map(Self::Link),
            #[cfg(test)]
            Topology::Simulated(wire) => Ok(Self::Simulated(wire.clone())),
        }
    }

    fn leads_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link(link), Self::Link(other)) => Arc::ptr_eq(link, other),
            #[cfg(test)]
            // There is one server.
            _ => true,
        }
    }

    /// The number of the connection that leads there; `None` while there is none.
    fn live_generation(&self) -> Option<u64> {
        match self {
            Self::Link(link) => link.live_generation(),
            #[cfg(test)]
            Self::Simulated(wire) => wire.live_generation(),
        }
    }

    async fn pipeline(&self, pipeline: &Pipeline, deadline: Duration) -> Result<Vec<Value>> {
        match self {
            Self::Link(link) => link.pipeline(pipeline, deadline).await,
            #[cfg(test)]
            Self::Simulated(wire) => wire.call(pipeline.cmd_iter().cloned().collect(), deadline).await,
        }
    }
}

impl Walk {
    /// Goes past `count` keys or so, after the last step from the beginning again, and asks for `absent`, keys that are never
    /// there. One round trip. `None` if the connection is not the one that the walk began on.
    ///
    /// # Errors
    /// As [`command`](Redis::command).
    pub(crate) async fn step(
        &mut self,
        pattern: &str,
        count: usize,
        absent: &[Vec<u8>],
    ) -> Result<Option<Step>> {
        let mut pipeline = Pipeline::with_capacity(1 + absent.len());
        let mut scan = cmd("SCAN");
        scan.arg(&self.cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
        pipeline.add_command(scan);
        // Elsewhere every slot is whole, and nobody would say otherwise.
        for key in absent.iter().filter(|_| self.is_cluster) {
            pipeline.cmd("GET").arg(key);
        }
        let mut replies = self.way.pipeline(&pipeline, self.redis.deadline).await?.into_iter();
        if self.generation.is_none() || self.way.live_generation() != self.generation {
            return Ok(None);
        }
        let scanned = self.redis.inner.outcome(replies.next().unwrap_or(Value::Nil))?;
        let unexpected = || Error::new(ErrorKind::Corrupt, "redis answered something else than a scan does");
        let Value::Array(parts) = scanned else { return Err(unexpected()) };
        let Ok([Value::BulkString(cursor), Value::Array(keys)]) = <[Value; 2]>::try_from(parts) else {
            return Err(unexpected());
        };
        let is_whole = if self.is_cluster {
            replies.map(|reply| reply == Value::Nil).collect()
        } else {
            vec![true; absent.len()]
        };
        self.cursor = cursor;
        Ok(Some(Step { keys, is_last: self.cursor == b"0", is_whole }))
    }
}
