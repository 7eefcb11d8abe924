//! What can go wrong in the simulated world.

use std::time::Duration;

use rand::{Rng, seq::IndexedRandom};
use tokio::time::sleep;

use super::{State, World, history};
use crate::redis::PushEvent;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing passes between a node and the server, for a while.
    Silence,
    /// The server hears a node, and its replies are lost.
    LostReplies,
    /// A node misses messages.
    LostMessages,
    /// A node has to connect again.
    Cut,
    /// The server answers nobody, for a while.
    Freeze,
    /// The server comes back, or is replaced, by one that knows no more than some time ago.
    Rollback,
    /// One key is evicted, or lost.
    LostKey,
    /// `FLUSHALL`
    Flush,
    /// A node is out of touch for longer than it may serve its copies, and still misses messages when it is back.
    Stall,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::Silence,
        Self::LostReplies,
        Self::LostMessages,
        Self::Cut,
        Self::Freeze,
        Self::Rollback,
        Self::LostKey,
        Self::Flush,
        Self::Stall,
    ];
}

impl World {
    /// Remembers what a later [`Fault::Rollback`] brings back.
    pub(crate) fn save(&self) {
        let mut state = self.state.lock();
        let data = state.store.lock().data.clone();
        state.saved = data;
    }

    /// Makes trouble of this kind, for a node and a time that the dice choose.
    pub(crate) fn disturb(&self, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.pick_node();
        match fault {
            Fault::Silence => state.nodes[at].silent_until_ms = state.some_time(400),
            Fault::LostReplies => state.nodes[at].deaf_until_ms = state.some_time(300),
            Fault::LostMessages => state.nodes[at].mute_until_ms = state.some_time(500),
            Fault::Cut => {
                state.nodes[at].server = 0;
                state.nodes[at].away_until_ms = state.some_time(60);
                self.subscribe_again(&mut state, at);
            }
            Fault::Freeze => {
                let until_ms = state.some_time(150);
                state.nodes.iter_mut().for_each(|node| node.silent_until_ms = until_ms);
            }
            Fault::Rollback => {
                state.server += 1;
                let saved = state.saved.clone();
                let history = history(&mut state.dice);
                let mut store = state.store.lock();
                store.data = saved;
                store.data.history = history;
                drop(store);
                for at in 0..state.nodes.len() {
                    state.nodes[at].away_until_ms = state.some_time(120);
                    self.subscribe_again(&mut state, at);
                }
            }
            Fault::LostKey => {
                let keys = state.store.lock().data.keys();
                if let Some(key) = keys.choose(&mut state.dice) {
                    state.store.lock().data.lose(key);
                }
            }
            Fault::Flush => state.store.lock().data.lose_everything(),
            Fault::Stall => {
                let back_ms = state.some_time(200) + 200;
                state.nodes[at].silent_until_ms = back_ms;
                state.nodes[at].mute_until_ms = back_ms + 100;
            }
        }
    }

    /// The node listens again when it is back.
    fn subscribe_again(&self, state: &mut State, at: usize) {
        let node = &state.nodes[at];
        let away = Duration::from_millis(node.away_until_ms.saturating_sub(state.now_ms()));
        for (ear, channels) in node.ears.clone() {
            self.tasks.spawn(async move {
                sleep(away).await;
                for channel in channels {
                    let _ = ear.send(PushEvent::Subscribed(channel)).await;
                }
            });
        }
    }
}

impl State {
    fn pick_node(&mut self) -> usize {
        let nodes = self.nodes.len();
        self.dice.random_range(0..nodes)
    }

    /// A moment from now, at most so many milliseconds away.
    fn some_time(&mut self, most_ms: u64) -> u64 {
        self.now_ms() + self.dice.random_range(1..most_ms)
    }
}
