//! Several nodes of one cache in simulated time: all of the engine, from a read to the scripts, over a network and a
//! server that are unkind by seed. No read may miss what was acknowledged, in any of thousands of histories.
//!
//! A second takes a tenth of one here, and a failure names the seed and the kinds of trouble that it needs.

mod behind;
mod check;
mod journal;
mod node;
mod reads;
mod waiting;
mod writes;

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{runtime, task::JoinSet, time::sleep};

use self::{check::Checker, node::node_of, reads::Reader, writes::Writer};
use crate::{
    cache::Consistency,
    dice::seed as seed_dice,
    redis::simulated::{Fault, World},
};

/// How many histories a plain run looks at; the whole check looks at ten times as many.
const SEEDS: u64 = 200;
const NODES: usize = 3;
const KEYS: usize = 4;
const BOUND: Duration = Duration::from_millis(200);
const LASTS: Duration = Duration::from_millis(1_500);
/// The most time between two writes of one writer: what is written rarely is cached and made stale more often.
const PACES: [Duration; 2] = [Duration::from_millis(120), Duration::from_millis(400)];
/// The most time between two troubles.
const CALM: Duration = Duration::from_millis(160);

/// Runs a history on one thread in a time of its own, with dice of its own.
fn in_simulated_time<T>(seed: u64, history: impl Future<Output = T>) -> T {
    seed_dice(seed);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime is made").block_on(history)
}

/// One history. What it says if it fails: the first read that was stale.
fn history(seed: u64, faults: &[Fault]) -> Result<u64, String> {
    let consistency = match seed % 2 {
        0 => Consistency::Bounded(BOUND),
        _ => Consistency::Strict(BOUND),
    };
    history_of(seed, faults, consistency, consistency)
}

/// One of nodes that keep to this, judged by what was promised.
fn history_of(
    seed: u64,
    faults: &[Fault],
    consistency: Consistency,
    promised: Consistency,
) -> Result<u64, String> {
    in_simulated_time(seed, async {
        let world = World::new(seed, NODES);
        // A database that fails excuses something: not all of them do.
        let may_fail = seed % 8 < 2;
        let at_most = PACES[(seed / 2 % 2) as usize];
        let checker = Arc::new(Checker::new(world.clone(), promised, may_fail));
        let mut tasks = JoinSet::new();
        for node in 0..NODES {
            // A node without copies of its own believes Redis in every read.
            let keeps_copies = node != 0 || !seed.is_multiple_of(3);
            let cache = node_of(&world, node, consistency, keeps_copies);
            for _ in 0..2 {
                let (world, checker, cache) = (world.clone(), checker.clone(), cache.clone());
                tasks.spawn(Reader { world, checker, cache, node }.read_on_and_on());
            }
            for _ in 0..2 {
                let (world, checker, cache) = (world.clone(), checker.clone(), cache.clone());
                tasks.spawn(Writer { world, checker, cache, node, at_most }.write_on_and_on());
            }
        }
        let end_ms = world.now_ms() + LASTS.as_millis() as u64;
        while world.now_ms() < end_ms && checker.is_well() {
            sleep(world.pause(CALM)).await;
            // Drawn from all, so that leaving one out changes nothing about the others.
            let fault = Fault::ALL[world.pick(Fault::ALL.len())];
            if world.pick(3) == 0 {
                world.save();
            }
            if faults.contains(&fault) {
                checker.journal.note(&format!("{fault:?}"));
                world.disturb(fault);
            }
        }
        tasks.shutdown().await;
        checker.verdict()
    })
}

/// A kind of histories, the troubles they may have, and the test that runs them.
struct Kind {
    history: fn(u64, &[Fault]) -> Result<u64, String>,
    faults: &'static [Fault],
    /// Of so many seeds that are wanted it takes one.
    one_of: u64,
    /// How many reads a history must have on average to show something.
    least_reads: u64,
}

impl Kind {
    /// The troubles that this seed cannot do without.
    fn needed(&self, seed: u64) -> Vec<Fault> {
        let mut faults = self.faults.to_vec();
        for fault in self.faults {
            let fewer: Vec<Fault> = faults.iter().copied().filter(|kept| kept != fault).collect();
            if (self.history)(seed, &fewer).is_err() {
                faults = fewer;
            }
        }
        faults
    }

    /// Runs these seeds. The first that fails is shrunk and told.
    fn run(&self, seeds: impl Iterator<Item = u64>) -> u64 {
        let mut reads = 0;
        for seed in seeds {
            match (self.history)(seed, self.faults) {
                Ok(of_seed) => reads += of_seed,
                Err(first) => {
                    let faults = self.needed(seed);
                    let said = (self.history)(seed, &faults).err().unwrap_or(first);
                    panic!("seed {seed} with {faults:?} (LARDER_TEST_SEED={seed} repeats it): {said}");
                }
            }
        }
        reads
    }

    /// As many histories as are wanted, on all cores; or the one that is.
    fn run_all(&'static self) {
        let wanted = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
        if let Some(seed) = wanted("LARDER_TEST_SEED") {
            self.run(std::iter::once(seed));
            return;
        }
        let seeds = wanted("LARDER_TEST_SEEDS").unwrap_or(SEEDS) / self.one_of;
        let next = Arc::new(AtomicU64::new(0));
        let workers = thread::available_parallelism().map_or(2, usize::from);
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                let next = next.clone();
                let seeds = iter::from_fn(move || Some(next.fetch_add(1, Relaxed)).filter(|it| *it < seeds));
                thread::spawn(move || self.run(seeds))
            })
            .collect();
        let reads: u64 = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum();
        assert!(reads > seeds * self.least_reads, "something must have been read: {reads}");
    }
}

#[test]
fn in_no_simulated_history_does_a_read_miss_what_was_acknowledged() {
    static COHERENCE: Kind = Kind { history, faults: &Fault::ALL, one_of: 1, least_reads: 4 };
    COHERENCE.run_all();
}

#[test]
fn a_simulated_history_of_nodes_that_do_not_keep_the_promise_is_told() {
    // Both make a node miss messages, of which nodes like these notice nothing.
    let faults = [Fault::LostMessages, Fault::Stall];
    let is_told =
        |promised| (0..100).any(|seed| history_of(seed, &faults, Consistency::Local, promised).is_err());
    assert!(is_told(Consistency::Bounded(BOUND)));
    assert!(is_told(Consistency::Strict(BOUND)));
}

#[test]
fn in_no_simulated_history_is_a_write_lost_that_was_acknowledged() {
    static BEHIND: Kind =
        Kind { history: behind::history, faults: &behind::FAULTS, one_of: 4, least_reads: 50 };
    BEHIND.run_all();
}
