//! The threads and what each has: connections, and orders to give some of them away.

use std::{sync::Arc, time::Duration};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::runtime::Handle;

use super::{
    gauge::Gauge,
    moves::Moves,
    placing::{Found, Placing},
};

/// So often everything is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Who has which connections, and who is to have them. For each thread one of what its connections look at all the time, which
/// would travel between the cores otherwise.
#[derive(Debug)]
pub(crate) struct Threads {
    placing: Placing,
    gauge: Gauge,
    pub(crate) graceful: Vec<GracefulShutdown>,
    pub(crate) moves: Vec<Arc<Moves>>,
}

impl Threads {
    pub(crate) fn new(runtimes: &[Handle]) -> Self {
        Self {
            placing: Placing::new(runtimes.len()),
            gauge: Gauge::new(runtimes.to_vec()),
            graceful: runtimes.iter().map(|_| GracefulShutdown::new()).collect(),
            moves: runtimes.iter().map(|_| Arc::default()).collect(),
        }
    }

    /// The thread for one more connection.
    pub(crate) fn place(&mut self) -> usize {
        self.placing.place()
    }

    /// Sees who has how much to do, has connections moved, and says how many threads take new ones.
    pub(crate) fn look(&mut self) -> usize {
        let (shares, mut idle) = self.gauge.look();
        let connections = self.graceful.iter().map(GracefulShutdown::count);
        let found = shares.into_iter().zip(connections);
        let found = found.map(|(busy, connections)| Found { busy, connections }).collect();
        let moved = self.placing.look(found, || idle.cores());
        for (number, moves) in self.moves.iter().enumerate() {
            let ordered = moved.filter(|moved| moved.from == number);
            moves.order(ordered.map_or(0, |moved| moved.connections));
        }
        self.placing.in_use()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::workers::Workers;

    #[test]
    fn connections_are_spread_evenly_and_those_that_end_make_room() {
        let workers = Workers::start(Some(3)).unwrap();
        let mut gauge = Gauge::new(workers.runtimes());
        // Until they have begun, and sleep.
        while gauge.look().0 != [0.0; 3] {
            thread::yield_now();
        }
        let mut threads = Threads::new(&workers.runtimes());
        let seat = |threads: &mut Threads| {
            let number = threads.place();
            (number, threads.graceful[number].watcher())
        };
        let mut seats: Vec<_> = (0..9).map(|_| seat(&mut threads)).collect();
        let counts = |threads: &Threads| [0, 1, 2].map(|number: usize| threads.graceful[number].count());
        assert_eq!(counts(&threads), [3, 3, 3]);
        seats.retain(|(number, _)| *number != 1);
        assert_eq!(counts(&threads), [3, 0, 3]);
        assert_eq!(threads.look(), 3);
        seats.extend((0..3).map(|_| seat(&mut threads)));
        assert_eq!(counts(&threads), [3, 3, 3]);
    }
}
