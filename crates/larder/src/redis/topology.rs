//! One primary or many, behind one face.

use std::{sync::Arc, time::Duration};

use ::redis::{Cmd, Pipeline, Value, cmd};
use tokio::time::Instant;

use super::{
    breaker::BreakerState,
    cluster::Cluster,
    link::{Link, LinkSettings},
    supervisor::Primary,
    url::{Address, Mode},
};
use crate::{Error, ErrorKind, Result};

/// The links of a deployment.
#[derive(Debug)]
pub(super) enum Topology {
    Single(Arc<Link>),
    Cluster(Cluster),
    #[cfg(test)]
    Simulated(super::simulated::Wire),
}

impl Topology {
    pub(super) fn start(mode: Mode, settings: LinkSettings) -> Self {
        match mode {
            Mode::Single(address) => Self::Single(Arc::new(Link::to(&settings, address))),
            Mode::Sentinel { sentinels, service } => {
                Self::Single(Arc::new(Link::start(&settings, Primary::Watched { sentinels, service })))
            }
            Mode::Cluster(seeds) => Self::Cluster(Cluster::start(settings, seeds)),
        }
    }

    pub(super) async fn command(&self, slot_key: &[u8], cmd: &Cmd, deadline: Duration) -> Result<Value> {
        match self {
            Self::Single(link) => link.command(cmd, deadline).await,
            Self::Cluster(cluster) => cluster.command(slot_key, cmd, deadline).await,
            #[cfg(test)]
            Self::Simulated(wire) => {
                wire.call(vec![cmd.clone()], deadline).await.map(|mut replies| replies.remove(0))
            }
        }
    }

    pub(super) async fn pipeline(
        &self,
        slot_key: &[u8],
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>> {
        match self {
            Self::Single(link) => link.pipeline(pipeline, deadline).await,
            Self::Cluster(cluster) => cluster.pipeline(slot_key, pipeline, deadline).await,
            #[cfg(test)]
            Self::Simulated(wire) => wire.call(pipeline.cmd_iter().cloned().collect(), deadline).await,
        }
    }

    /// Asks every primary for a sign of life, all within one deadline, and returns their replies.
    pub(super) async fn ping(&self, deadline: Duration) -> Result<Vec<Value>> {
        let until = Instant::now() + deadline;
        self.check_complete()?;
        let mut replies = Vec::new();
        for link in self.links() {
            let left = until.saturating_duration_since(Instant::now());
            replies.push(link.command(&cmd("PING"), left).await?);
        }
        Ok(replies)
    }

    fn check_complete(&self) -> Result<()> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Cluster(cluster) => cluster.check_complete(),
            #[cfg(test)]
            Self::Simulated(_) => Ok(()),
        }
    }

    /// Every primary there is now.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        match self {
            Self::Single(link) => vec![Arc::clone(link)],
            Self::Cluster(cluster) => cluster.links(),
            #[cfg(test)]
            Self::Simulated(_) => Vec::new(),
        }
    }

    /// Whether every primary is connected.
    pub(super) fn is_up(&self) -> bool {
        self.check_complete().is_ok() && self.links().iter().all(|link| link.is_up())
    }

    /// The link to the primary of `slot_key`.
    ///
    /// # Errors
    /// `Unavailable` if the slot has none.
    pub(super) fn owner(&self, slot_key: &[u8]) -> Result<Arc<Link>> {
        match self {
            Self::Single(link) => Ok(Arc::clone(link)),
            Self::Cluster(cluster) => cluster.owner(slot_key),
            #[cfg(test)]
            Self::Simulated(_) => Err(Error::new(ErrorKind::Unavailable, "nothing simulated has links")),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Where the primary of `slot_key` is, if it is connected.
    pub(super) fn primary_of(&self, slot_key: &[u8]) -> Option<Address> {
        let link = self.owner(slot_key).ok()?;
        if link.is_up() { link.address() } else { None }
    }

    /// Something outside the links found a primary wanting: have the map of a cluster looked at again.
    pub(super) fn doubt(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.doubt();
        }
    }

    /// The worst of all breakers.
    pub(super) fn breaker(&self) -> BreakerState {
        let badness = |state: &BreakerState| match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.links().iter().map(|link| link.breaker()).max_by_key(badness).unwrap_or(BreakerState::Closed)
    }

    /// Waits until the first attempt to connect has ended everywhere. `Some` is what went wrong.
    pub(super) async fn first_attempt(&self) -> Result<Option<Error>> {
        let ended = |_| Error::new(ErrorKind::Unavailable, "the connecting task has ended");
        if let Self::Cluster(cluster) = self {
            let mut state = cluster.state();
            let state = state.wait_for(|state| state.attempts > 0).await.map_err(ended)?;
            if state.trouble.is_some() {
                return Ok(state.trouble.clone());
            }
        }
        for link in self.links() {
            let mut state = link.state();
            let state = state.wait_for(|state| state.attempts > 0).await.map_err(ended)?;
            if state.trouble.is_some() {
                return Ok(state.trouble.clone());
            }
        }
        Ok(None)
    }
}
