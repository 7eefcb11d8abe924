//! One node's way to the simulated server.

use std::{fmt, future::pending, sync::Arc, sync::atomic::Ordering, time::Duration};

use ::redis::{Cmd, Value};
use rand::Rng;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{World, data::Announced};
use crate::{
    Error, ErrorKind, Result,
    redis::{
        Channel, Dialer, Ears, Inner, PushEvent, Redis, RedisConfig, Subscriber, Topology, error::timed_out,
        stats::Counters,
    },
};

/// What stands in the place of a connection.
#[derive(Clone)]
pub(crate) struct Wire {
    world: World,
    node: usize,
    counters: Arc<Counters>,
}

impl World {
    /// The way of one node to the server, which counts its connections in `counters`.
    fn wire(&self, node: usize, counters: &Arc<Counters>) -> Wire {
        Wire { world: self.clone(), node, counters: Arc::clone(counters) }
    }

    /// Hands out what was announced: perhaps late, perhaps twice, perhaps never.
    fn announce(&self, published: Vec<Announced>) {
        for (channel, payload) in published {
            let mut state = self.state.lock();
            let (now_ms, mut copies) = (state.now_ms(), Vec::new());
            for at in 0..state.nodes.len() {
                if now_ms < state.nodes[at].mute_until_ms.max(state.nodes[at].away_until_ms) {
                    continue;
                }
                let times = if state.dice.random_bool(0.05) { 2 } else { 1 };
                for _ in 0..times {
                    let late = state.latency();
                    let ears = state.nodes[at].ears.iter();
                    let ears = ears.filter(|(_, channels)| channels.iter().any(|it| **it == *channel));
                    copies.extend(ears.map(|(ear, _)| (ear.clone(), late)).collect::<Vec<_>>());
                }
            }
            drop(state);
            let channel: Channel = channel.into();
            for (ear, late) in copies {
                let message = PushEvent::Message { channel: channel.clone(), payload: payload.clone() };
                self.tasks.spawn(async move {
                    sleep(late).await;
                    let _ = ear.send(message).await;
                });
            }
        }
    }
}

impl Wire {
    /// The number of connections so far counts up before anything is sent on a new one.
    fn connect(&self) -> Result<u64> {
        let mut state = self.world.state.lock();
        let (now_ms, server) = (state.now_ms(), state.server);
        let node = &mut state.nodes[self.node];
        if now_ms < node.away_until_ms {
            return Err(Error::new(ErrorKind::Unavailable, "redis is not connected"));
        }
        if node.server != server {
            node.server = server;
            self.counters.connects.fetch_add(1, Ordering::Release);
        }
        Ok(server)
    }

    /// The number of the connection that leads to the server; `None` while there is none.
    pub(in crate::redis) fn live_generation(&self) -> Option<u64> {
        let state = self.world.state.lock();
        let node = &state.nodes[self.node];
        let is_up = node.server == state.server && node.away_until_ms <= state.now_ms();
        is_up.then(|| self.counters.connects.load(Ordering::Acquire))
    }

    pub(in crate::redis) async fn call(&self, cmds: Vec<Cmd>, deadline: Duration) -> Result<Vec<Value>> {
        let server = self.connect()?;
        self.counters.round_trips.add_one();
        let (answer, answered) = oneshot::channel();
        let wire = self.clone();
        // In a task of its own: a request goes on when its caller has given up.
        self.world.tasks.spawn(async move {
            // Without a caller there is nobody to tell.
            let _ = answer.send(wire.carry(cmds, server).await);
        });
        match timeout(deadline, answered).await {
            Ok(Ok(replies)) => replies,
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(timed_out(deadline)),
        }
    }

    async fn carry(&self, cmds: Vec<Cmd>, server: u64) -> Result<Vec<Value>> {
        let (there, back) = {
            let mut state = self.world.state.lock();
            (state.latency(), state.latency())
        };
        sleep(there).await;
        self.until_it_passes().await;
        let replies = {
            let mut state = self.world.state.lock();
            if state.server != server {
                return Err(lost());
            }
            let mut published = Vec::new();
            let replies = cmds.iter().map(|cmd| {
                let (reply, announced) = state.execute(cmd);
                published.extend(announced);
                reply
            });
            let replies: Vec<Value> = replies.collect();
            drop(state);
            self.world.announce(published);
            replies
        };
        sleep(back).await;
        let (is_cut, is_lost) = {
            let state = self.world.state.lock();
            let node = &state.nodes[self.node];
            (node.server != server, state.now_ms() < node.deaf_until_ms.max(node.silent_until_ms))
        };
        match (is_cut, is_lost) {
            (true, _) => Err(lost()),
            (false, true) => pending().await,
            (false, false) => Ok(replies),
        }
    }

    /// While nothing passes, half of the requests are lost and half are late.
    async fn until_it_passes(&self) {
        loop {
            let (left_ms, is_lost) = {
                let mut state = self.world.state.lock();
                let left_ms = state.nodes[self.node].silent_until_ms.saturating_sub(state.now_ms());
                (left_ms, left_ms > 0 && state.dice.random_bool(0.5))
            };
            if left_ms == 0 {
                return;
            }
            if is_lost {
                pending().await
            }
            sleep(Duration::from_millis(left_ms)).await;
        }
    }

    /// Everything announced from now on, as far as it arrives.
    pub(in crate::redis) fn subscribe(&self, channels: Vec<Channel>) -> Subscriber {
        let (ear, events) = mpsc::channel(1_024);
        self.world.state.lock().nodes[self.node].ears.push((ear.clone(), channels.clone()));
        let task = self.world.tasks.spawn(async move {
            for channel in channels {
                let _ = ear.send(PushEvent::Subscribed(channel)).await;
            }
        });
        Subscriber::over(events, AbortOnDropHandle::new(task))
    }
}

impl Redis {
    /// A handle of one node of a simulated world, whose operations may take `deadline` each.
    pub(crate) fn simulated(world: &World, node: usize, deadline: Duration) -> Self {
        let config = RedisConfig::new("redis://simulated").deadline(deadline);
        let target = config.target().expect("the URL can be read");
        let counters = Arc::new(Counters::default());
        let ears = Ears {
            topology: Arc::new(Topology::Simulated(world.wire(node, &counters))),
            dialer: Dialer::new(target.clone(), &config).expect("there is nothing to dial"),
            probe_interval: config.probe_interval,
        };
        let inner = Inner { app: config.app, target, ears, counters, clock: config.clock };
        Self { inner: Arc::new(inner), deadline }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "connection lost").in_doubt()
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("node", &self.node).finish_non_exhaustive()
    }
}
