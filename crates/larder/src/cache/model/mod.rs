//! The near tier and the flight as several threads run them, in every order that Shuttle comes upon.
//!
//! The code is the shipped one, over exchangeable primitives (`crate::sync`). The map of the near tier has locks of its own:
//! each call of it counts as one step. Timers stand still, so what is proved here does not rest on one.

mod flights;
mod marks;
mod reads;

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use tokio::runtime;

/// How many orders of events a plain run looks at, in each of two ways to draw them.
const ORDERS: usize = 2_000;
/// A thread's stack: a read has many futures in each other.
const STACK_BYTES: usize = 1 << 19;
/// How often a thread is interrupted at an unlikely place, in the second way.
const INTERRUPTIONS: usize = 3;
const SEED: u64 = 7;

/// Runs `scene` in many orders of its threads' steps: drawn evenly, and with few interruptions at unlikely places.
fn in_every_order(scene: fn()) {
    in_more_orders(1, scene);
}

/// So many times as many, for a scene in which something goes wrong at a few unlikely places only, each at the right time.
fn in_more_orders(times: usize, scene: fn()) {
    let orders =
        std::env::var("LARDER_TEST_ORDERS").ok().and_then(|it| it.parse().ok()).unwrap_or(ORDERS * times);
    run(RandomScheduler::new_from_seed(SEED, orders), scene);
    run(PctScheduler::new_from_seed(SEED, INTERRUPTIONS, orders), scene);
}

fn run(scheduler: impl Scheduler + 'static, scene: fn()) {
    // Its timers are never looked at.
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime is made");
    let _inside = runtime.enter();
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scene);
}
