//! A Redis in this process, and a network to it that is unkind by seed: for tests that run in simulated time.
//!
//! The data is simulated; the scripts that run on it are the real ones, and so is everything of Larder above one
//! command. Requests may be late, executed after their caller has given up, or never; replies may be lost; messages lost,
//! late, repeated and out of order; the server may freeze, lose keys, or come back as it was some time ago.

mod data;
mod fault;
mod lua;
mod wire;

use std::{sync::Arc, time::Duration};

use ::redis::{Cmd, Value};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use self::{
    data::{Announced, Data},
    lua::{Scripts, Store},
};
pub(crate) use self::{fault::Fault, wire::Wire};
use super::{
    Channel, PushEvent,
    script::{Script, simple_args},
};

/// The server, the network and the seed of all that happens there.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    /// Owns what is under way.
    tasks: TaskTracker,
}

struct State {
    begun: Instant,
    dice: StdRng,
    store: Arc<Mutex<Store>>,
    scripts: Scripts,
    /// What the server would come back with.
    saved: Data,
    /// Moves with each server that answers.
    server: u64,
    nodes: Vec<Node>,
}

/// One node's way to the server. All times by the simulated clock.
#[derive(Default)]
struct Node {
    /// The server that it is connected to.
    server: u64,
    /// Until when it has no connection.
    away_until_ms: u64,
    /// Until when nothing passes in either direction.
    silent_until_ms: u64,
    /// Until when no reply comes back.
    deaf_until_ms: u64,
    /// Until when messages are lost.
    mute_until_ms: u64,
    ears: Vec<(mpsc::Sender<PushEvent>, Vec<Channel>)>,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let store = Arc::<Mutex<Store>>::default();
        store.lock().data.history = history(&mut dice);
        let saved = store.lock().data.clone();
        let state = State {
            begun: Instant::now(),
            dice,
            scripts: Scripts::over(&store),
            saved,
            store,
            server: 1,
            nodes: (0..nodes).map(|_| Node::default()).collect(),
        };
        Self { state: Arc::new(Mutex::new(state)), tasks: TaskTracker::new() }
    }

    /// Milliseconds since the world began, and a while, so that no time is zero.
    pub(crate) fn now_ms(&self) -> u64 {
        self.state.lock().now_ms()
    }

    /// A pause from the world's own dice.
    pub(crate) fn pause(&self, at_most: Duration) -> Duration {
        at_most.mul_f64(self.state.lock().dice.random())
    }

    /// A number below `end`, from the world's own dice.
    pub(crate) fn pick(&self, end: usize) -> usize {
        self.state.lock().dice.random_range(0..end)
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        1_000 + self.begun.elapsed().as_millis() as u64
    }

    /// Mostly quick, now and then not.
    fn latency(&mut self) -> Duration {
        let most_us = if self.dice.random_bool(0.1) { 40_000 } else { 3_000 };
        Duration::from_micros(self.dice.random_range(0..most_us))
    }

    /// Carries out one command on the present server. Returns the reply and what was announced.
    fn execute(&mut self, cmd: &Cmd) -> (Value, Vec<Announced>) {
        let now_ms = self.now_ms();
        self.store.lock().now_ms = now_ms;
        let words: Vec<&[u8]> = simple_args(cmd).collect();
        let reply = match Script::source_of(cmd) {
            Some(source) => self.scripts.run(source, &words[2..]),
            None => self.store.lock().run(&words),
        };
        (reply, std::mem::take(&mut self.store.lock().published))
    }
}

fn history(dice: &mut StdRng) -> String {
    format!("{:032x}{:08x}", dice.random::<u128>(), dice.random::<u32>())
}
