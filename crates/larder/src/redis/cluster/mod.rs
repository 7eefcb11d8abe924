//! Redis Cluster: one link for each primary, and a map of slots that says which.
//!
//! The routing is our own rather than the driver's, so that a cluster keeps the promises of a single server: a dead
//! primary fails the calls to its slots at once and no others, and each primary has its own breaker.

pub(super) mod map;
mod refresh;

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{Cmd, Pipeline, Value};
use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use self::map::{Redirect, SlotMap};
use super::{
    link::{Link, LinkSettings, State},
    pipeline_of,
    slot::slot_of,
    url::Address,
};
use crate::{Error, ErrorKind, Result};

/// The links to all primaries of a cluster, and the task that follows its changes.
pub(super) struct Cluster {
    shared: Arc<Shared>,
    _refresher: AbortOnDropHandle<()>,
}

struct Shared {
    settings: LinkSettings,
    seeds: Vec<Address>,
    map: ArcSwap<SlotMap>,
    /// Rung by a call that found the map wrong or a primary gone.
    stale: Notify,
    state: watch::Sender<State>,
}

impl Cluster {
    /// Starts to look for the cluster, and returns at once. Must be called inside a Tokio runtime.
    pub(super) fn start(settings: LinkSettings, seeds: Vec<Address>) -> Self {
        let shared = Arc::new(Shared {
            settings,
            seeds,
            map: ArcSwap::default(),
            stale: Notify::new(),
            state: watch::Sender::default(),
        });
        let refresher = tokio::spawn(refresh::follow(Arc::clone(&shared)));
        Self { shared, _refresher: AbortOnDropHandle::new(refresher) }
    }

    /// Sends one command to the owner of `slot_key`; follows one redirection.
    pub(super) async fn command(&self, slot_key: &[u8], cmd: &Cmd, deadline: Duration) -> Result<Value> {
        let until = Instant::now() + deadline;
        let reply = self.watched(self.owner(slot_key)?.command(cmd, deadline).await)?;
        let Some(redirect) = Redirect::in_reply(&reply) else { return Ok(reply) };
        // Boxed, because every command has room for this call, and few make it.
        let mut replies = Box::pin(self.follow(&redirect, vec![cmd.clone()], until)).await?;
        replies.pop().ok_or_else(out_of_step)
    }

    /// Sends a pipeline whose keys are all in the slot of `slot_key` to its owner; commands that were redirected are
    /// sent once more, in one pipeline.
    pub(super) async fn pipeline(
        &self,
        slot_key: &[u8],
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>> {
        let until = Instant::now() + deadline;
        let mut replies = self.watched(self.owner(slot_key)?.pipeline(pipeline, deadline).await)?;
        let (mut places, mut again, mut redirect) = (Vec::new(), Vec::new(), None);
        for (place, (reply, cmd)) in replies.iter().zip(pipeline.cmd_iter()).enumerate() {
            if let Some(found) = Redirect::in_reply(reply) {
                redirect.get_or_insert(found);
                places.push(place);
                again.push(cmd.clone());
            }
        }
        let Some(redirect) = redirect else { return Ok(replies) };
        let moved = Box::pin(self.follow(&redirect, again, until)).await?;
        for (place, reply) in places.into_iter().zip(moved) {
            replies[place] = reply;
        }
        Ok(replies)
    }

    /// Every primary there is now.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.shared.map.load().links().cloned().collect()
    }

    /// # Errors
    /// `Unavailable` if a slot has no primary.
    pub(super) fn check_complete(&self) -> Result<()> {
        self.shared.map.load().check_complete()
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Asks for a fresh map.
    pub(super) fn doubt(&self) {
        self.shared.stale.notify_one();
    }

    pub(super) fn owner(&self, slot_key: &[u8]) -> Result<Arc<Link>> {
        let slot = slot_of(slot_key);
        if let Some(link) = self.shared.map.load().owner(slot) {
            return Ok(Arc::clone(link));
        }
        self.shared.stale.notify_one();
        let error =
            Error::new(ErrorKind::Unavailable, format!("no primary of the cluster serves slot {slot}"));
        Err(match &self.shared.state.borrow().trouble {
            Some(trouble) => error.with_source(trouble.clone()),
            None => error,
        })
    }

    /// Asks for a fresh map when a primary is in trouble: there may be a new one.
    fn watched<T>(&self, result: Result<T>) -> Result<T> {
        if result
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout))
        {
            self.shared.stale.notify_one();
        }
        result
    }

    async fn follow(&self, redirect: &Redirect, cmds: Vec<Cmd>, until: Instant) -> Result<Vec<Value>> {
        let lost = || Error::new(ErrorKind::Unavailable, "the cluster is moving the slot");
        if !redirect.asking {
            self.shared.stale.notify_one();
        }
        let known = self.shared.map.load().primary_at(&redirect.to).cloned();
        let link = match known {
            Some(link) => link,
            None => {
                if redirect.asking {
                    self.invite(&redirect.to);
                }
                self.appears(&redirect.to, until).await.ok_or_else(lost)?
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        let replies = if redirect.asking {
            // `ASKING` holds for one command, so each command has its own.
            let mut pipeline = Pipeline::with_capacity(cmds.len() * 2);
            for cmd in cmds {
                pipeline.cmd("ASKING").add_command(cmd);
            }
            let replies = link.pipeline(&pipeline, left).await?;
            replies.into_iter().skip(1).step_by(2).collect()
        } else {
            link.pipeline(&pipeline_of(cmds), left).await?
        };
        match replies.iter().any(|reply| Redirect::in_reply(reply).is_some()) {
            true => Err(lost()),
            false => Ok(replies),
        }
    }

    /// Begins to connect to a primary that no slot is known of: it is given its first. The map knows it from now on.
    fn invite(&self, address: &Address) {
        if !self.shared.map.load().has_room_for(address) {
            return;
        }
        let link = Arc::new(Link::to(&self.shared.settings, address.clone()));
        self.shared.map.rcu(|map| map.with_guest(address, &link));
    }

    /// Waits until the map knows a primary at `address` that is connected.
    async fn appears(&self, address: &Address, until: Instant) -> Option<Arc<Link>> {
        let mut state = self.shared.state.subscribe();
        let link = loop {
            if let Some(link) = self.shared.map.load().at(address) {
                break Arc::clone(link);
            }
            tokio::time::timeout_at(until, state.changed()).await.ok()?.ok()?;
        };
        let mut connected = link.state();
        tokio::time::timeout_at(until, connected.wait_for(|state| state.up)).await.ok()?.ok()?;
        Some(link)
    }
}

fn out_of_step() -> Error {
    Error::new(ErrorKind::Unavailable, "the server answered out of step")
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shared.map.load().links()).finish()
    }
}
