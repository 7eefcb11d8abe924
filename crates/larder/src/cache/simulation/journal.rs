//! The last events of a history, for whoever reads why it failed.

use std::{collections::VecDeque, fmt};

use parking_lot::Mutex;

use crate::redis::simulated::World;

/// How many of them a failure tells.
const TOLD: usize = 30;

pub(super) struct Journal {
    world: World,
    events: Mutex<VecDeque<String>>,
}

impl Journal {
    pub(super) fn new(world: World) -> Self {
        Self { world, events: Mutex::default() }
    }

    pub(super) fn note(&self, event: &str) {
        let now_ms = self.world.now_ms();
        let mut events = self.events.lock();
        if events.len() == TOLD {
            events.pop_front();
        }
        events.push_back(format!("{now_ms} ms: {event}"));
    }
}

/// A line each, the oldest first.
impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.lock().iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}
