//! Which thread takes a connection: as few of them as keep up, and more while a core is idle.
//!
//! A thread that waits for the sockets of few connections sleeps and wakes for nearly each request, which makes each dearer.
//! So connections come together on few threads while there is little to do. A thread is taken on when those in
//! use are busy and a core has nothing to do: on a machine whose cores all work, one more would only wait for them.

/// The share of its time from which on a thread is crowded: past it what comes at once waits long.
const CROWDED: f64 = 0.8;
/// For so many looks in a row ([`LOOK`](super::LOOK)), before something is done about it.
const CROWDED_LOOKS: u32 = 5;
/// With a smaller part of a core idle, what one more thread gets it mostly takes from others.
const IDLE_CORES: f64 = 0.5;
/// Two threads whose shares are no further apart are even.
const GAP: f64 = 0.3;
/// The mean share of those in use below which half of them will do.
const CALM: f64 = 0.25;
const CALM_LOOKS: u32 = 50;
/// So finely shares are told apart where connections are placed: differences below that are noise.
const STEPS: f64 = 20.0;
/// Clients of so many connections connect anew at the same time.
const MOST_MOVED: usize = 256;

/// One thread, as it was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Of its time since the last look, 0 to 1.
    pub busy: f64,
    pub connections: usize,
}

/// What a look came to: connections of one thread should be others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub from: usize,
    pub connections: usize,
}

/// What is in the same step is about as much.
fn step(busy: f64) -> u64 {
    (busy * STEPS) as u64
}

/// Who takes the connections.
#[derive(Debug)]
pub(crate) struct Placing {
    /// As they were found at the last look; what has been placed since is counted in.
    threads: Vec<Found>,
    /// The first so many take connections.
    in_use: usize,
    crowded_looks: u32,
    /// The idle cores of these looks, but for the first: what it found was of the time before.
    idle_cores: f64,
    calm_looks: u32,
}

impl Placing {
    /// All are in use at first: whoever comes to a server that starts under load is spread.
    pub(crate) fn new(threads: usize) -> Self {
        let threads = vec![Found::default(); threads];
        Self { in_use: threads.len(), threads, crowded_looks: 0, idle_cores: 0.0, calm_looks: 0 }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// The thread for one more connection, which is counted: the one that will have the least to do if each connection brings as
    /// much, and of those that have about as much the one that has the fewest.
    pub(crate) fn place(&mut self) -> usize {
        let connections: usize = self.threads.iter().map(|thread| thread.connections).sum();
        let busy: f64 = self.threads.iter().map(|thread| thread.busy).sum();
        let each = if connections == 0 { 0.0 } else { busy / connections as f64 };
        let candidates = self.threads[..self.in_use].iter().enumerate();
        let least = candidates.min_by(|(_, one), (_, other)| {
            step(one.busy).cmp(&step(other.busy)).then(one.connections.cmp(&other.connections))
        });
        let number = least.map_or(0, |(number, _)| number);
        self.threads[number].busy += each;
        self.threads[number].connections += 1;
        number
    }

    /// Takes in what was found, and says whose connections are to be moved. How many cores are idle is asked only when it matters.
    pub(crate) fn look(&mut self, found: Vec<Found>, idle_cores: impl FnOnce() -> f64) -> Option<Move> {
        self.threads = found;
        self.let_go();
        let (from, busiest) = self.busiest()?;
        let idle_cores = (busiest.busy > CROWDED).then(idle_cores);
        if !self.is_to_act(idle_cores) {
            return None;
        }
        let least = self.least_busy();
        if busiest.busy - least < GAP {
            // They find something to do by the next looks.
            self.in_use = (self.in_use * 2).min(self.threads.len());
            return None;
        }
        // Half of what would make the two even: what a connection brings is not known.
        let share = (busiest.busy - least) / busiest.busy / 4.0;
        let connections = ((busiest.connections as f64 * share).ceil() as usize).min(MOST_MOVED);
        // Alone, it would be as much work elsewhere.
        (busiest.connections > 1).then_some(Move { from, connections })
    }

    /// Whether some thread has been crowded for so many looks, by now in a row, while cores were idle. `None`: none is.
    fn is_to_act(&mut self, idle_cores: Option<f64>) -> bool {
        let Some(idle_cores) = idle_cores else {
            (self.crowded_looks, self.idle_cores) = (0, 0.0);
            return false;
        };
        if self.crowded_looks > 0 {
            self.idle_cores += idle_cores;
        }
        self.crowded_looks += 1;
        if self.crowded_looks < CROWDED_LOOKS {
            return false;
        }
        // The mean: the kernel counts coarsely, and in so short a time some core always waits for another.
        let mean = self.idle_cores / f64::from(CROWDED_LOOKS - 1);
        (self.crowded_looks, self.idle_cores) = (0, 0.0);
        mean >= IDLE_CORES
    }

    /// After calm looks, half of the threads take what comes. Whoever has a connection keeps it.
    fn let_go(&mut self) {
        let busy: f64 = self.threads.iter().map(|thread| thread.busy).sum();
        self.calm_looks = if busy < CALM * self.in_use as f64 { self.calm_looks + 1 } else { 0 };
        if self.calm_looks >= CALM_LOOKS {
            self.calm_looks = 0;
            self.in_use = self.in_use.div_ceil(2);
        }
    }

    fn busiest(&self) -> Option<(usize, Found)> {
        let threads = self.threads.iter().copied().enumerate();
        threads.max_by(|(_, one), (_, other)| one.busy.total_cmp(&other.busy))
    }

    /// The share of the one in use that has the least to do.
    fn least_busy(&self) -> f64 {
        self.threads[..self.in_use].iter().map(|thread| thread.busy).fold(1.0, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(threads: &[(f64, usize)]) -> Vec<Found> {
        threads.iter().map(|&(busy, connections)| Found { busy, connections }).collect()
    }

    fn looks(placing: &mut Placing, times: u32, threads: &[(f64, usize)], idle_cores: f64) -> Option<Move> {
        let mut last = None;
        for _ in 0..times {
            last = placing.look(found(threads), || idle_cores);
        }
        last
    }

    fn calm(threads: usize) -> Placing {
        let mut placing = Placing::new(threads);
        let found = vec![(0.0, 0); threads];
        looks(&mut placing, 20 * CALM_LOOKS, &found, 1.0);
        assert_eq!(placing.in_use(), 1);
        placing
    }

    #[test]
    fn a_server_that_starts_spreads_what_comes_and_a_calm_one_keeps_it_together() {
        let mut placing = Placing::new(4);
        assert_eq!([0; 4].map(|_| placing.place()), [0, 1, 2, 3]);
        assert_eq!([0; 4].map(|_| calm(4).place()), [0; 4]);
    }

    #[test]
    fn threads_are_let_go_one_half_after_the_other_and_only_after_a_while() {
        let mut placing = Placing::new(5);
        let idle = [(0.0, 0); 5];
        for in_use in [5, 3, 2, 1, 1] {
            assert_eq!(placing.in_use(), in_use);
            looks(&mut placing, CALM_LOOKS - 1, &idle, 1.0);
            assert_eq!(placing.in_use(), in_use);
            looks(&mut placing, 1, &idle, 1.0);
        }
        let mut placing = Placing::new(2);
        for _ in 0..3 {
            looks(&mut placing, CALM_LOOKS - 1, &[(0.1, 1), (0.1, 1)], 1.0);
            looks(&mut placing, 1, &[(0.3, 1), (0.3, 1)], 1.0);
        }
        assert_eq!(placing.in_use(), 2, "it was never calm for so long");
    }

    #[test]
    fn a_crowded_thread_gets_company_while_a_core_is_idle() {
        let mut placing = calm(4);
        let crowded = [(0.95, 32), (0.0, 0), (0.0, 0), (0.0, 0)];
        assert_eq!(looks(&mut placing, 100, &crowded, IDLE_CORES - 0.01), None);
        assert_eq!(placing.in_use(), 1, "no core is idle");
        let mut placing = calm(4);
        looks(&mut placing, CROWDED_LOOKS - 1, &crowded, 1.0);
        assert_eq!(placing.in_use(), 1, "it may be over soon");
        looks(&mut placing, 1, &crowded, 1.0);
        assert_eq!(placing.in_use(), 2);
        assert_eq!(looks(&mut placing, CROWDED_LOOKS, &crowded, 1.0), Some(Move { from: 0, connections: 8 }));
        assert_eq!(placing.place(), 1, "that is where they go");
        let even = [(0.95, 16), (0.9, 16), (0.0, 0), (0.0, 0)];
        assert_eq!(looks(&mut placing, CROWDED_LOOKS, &even, 1.0), None);
        assert_eq!(placing.in_use(), 4);
        assert_eq!(looks(&mut placing, 100, &[(0.95, 8); 4], 1.0), None);
        assert_eq!(placing.in_use(), 4, "there are no more");
    }

    #[test]
    fn cores_that_are_idle_for_a_moment_say_nothing() {
        let mut placing = calm(2);
        let mut idle = (0..).map(|look| if look % 4 == 0 { 1.5 } else { 0.0 });
        for _ in 0..200 {
            placing.look(found(&[(1.0, 9), (0.0, 0)]), || idle.next().unwrap());
        }
        assert_eq!(placing.in_use(), 1);
    }

    #[test]
    fn nobody_asks_for_idle_cores_while_nothing_is_crowded() {
        let mut placing = Placing::new(2);
        placing.look(found(&[(CROWDED, 10), (0.0, 0)]), || panic!("it was asked for"));
    }

    #[test]
    fn what_one_thread_has_alone_is_left_there() {
        let mut placing = Placing::new(2);
        assert_eq!(looks(&mut placing, 10 * CROWDED_LOOKS, &[(1.0, 1), (0.0, 5)], 1.0), None);
        let moved = looks(&mut placing, CROWDED_LOOKS, &[(1.0, 2), (0.0, 5)], 1.0);
        assert_eq!(moved, Some(Move { from: 0, connections: 1 }));
        let moved = looks(&mut placing, CROWDED_LOOKS, &[(1.0, 100_000), (0.0, 5)], 1.0);
        assert_eq!(moved, Some(Move { from: 0, connections: MOST_MOVED }));
    }

    #[test]
    fn a_crowded_thread_that_is_no_longer_in_use_gives_to_those_that_are() {
        let mut placing = calm(2);
        let moved = looks(&mut placing, CROWDED_LOOKS, &[(0.1, 1), (0.9, 20)], 1.0);
        assert_eq!(moved.map(|moved| moved.from), Some(1));
        assert_eq!(placing.place(), 0);
    }

    #[test]
    fn many_that_come_between_two_looks_are_spread_by_what_they_will_bring() {
        let mut placing = Placing::new(2);
        placing.look(found(&[(0.4, 10), (0.2, 5)]), || 1.0);
        let mut placed = [0, 0];
        for _ in 0..25 {
            placed[placing.place()] += 1;
        }
        assert_eq!(placed, [10, 15]);
        placing.look(found(&[(0.001, 3), (0.002, 0)]), || 1.0);
        assert_eq!([0; 5].map(|_| placing.place()), [1, 1, 1, 0, 1], "what little there is says nothing");
    }
}
