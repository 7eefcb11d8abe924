//! The threads that answer requests, each with a runtime of its own.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// As many threads as there are cores, unless the configuration says otherwise. A connection stays with the thread that it is
/// given to: its requests, their timers and their calls of Redis then write to the memory of one core, where threads that take
/// work from each other would have each line of it travel between them.
///
/// Dropping this ends the threads, and what still runs there.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Gone, it ends the thread.
    stay: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection's place with a worker.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Which worker, of [`Workers::count`].
    pub number: usize,
    pub runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts them: so many, or one for each core.
    ///
    /// # Errors
    /// The system has no more threads or file descriptors.
    pub(crate) fn start(count: Option<u32>) -> io::Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let count = count.map_or_else(cores, |count| count as usize);
        (0..count).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The runtimes of all of them.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// A place with the one that has the fewest connections.
    pub(crate) fn seat(&self) -> Seat {
        let fewest = self.0.iter().enumerate().min_by_key(|(_, worker)| worker.connections.load(Relaxed));
        let (number, Worker { runtime, connections, .. }) = fewest.expect("there is one at least");
        connections.fetch_add(1, Relaxed);
        Seat { number, runtime: runtime.clone(), connections: Arc::clone(connections) }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stay, stayed) = oneshot::channel();
        let run = move || {
            let _gone = runtime.block_on(stayed);
        };
        let thread = thread::Builder::new().name(format!("larder-{number}")).spawn(run)?;
        Ok(Self { runtime: handle, connections: Arc::default(), stay: Some(stay), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stay.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("A thread that answers requests had panicked.");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_evenly_and_those_that_end_make_room() {
        let workers = Workers::start(Some(3)).unwrap();
        let mut seats: Vec<Seat> = (0..9).map(|_| workers.seat()).collect();
        let counts = || workers.0.iter().map(|worker| worker.connections.load(Relaxed)).collect::<Vec<_>>();
        assert_eq!(counts(), [3, 3, 3]);
        let second = seats[1].runtime.id();
        seats.retain(|seat| seat.runtime.id() != second);
        assert_eq!(counts(), [3, 0, 3]);
        assert!((0..3).map(|_| workers.seat()).all(|seat| seat.runtime.id() == second));
    }

    #[test]
    fn what_a_worker_is_given_runs_on_its_own_thread_and_ends_with_it() {
        let workers = Workers::start(Some(2)).unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        for runtime in workers.runtimes() {
            let told = told.clone();
            runtime.spawn(async move {
                told.send(thread::current().name().map(str::to_owned)).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(told);
        let mut names: Vec<_> = tell.iter().take(2).map(Option::unwrap).collect();
        names.sort();
        assert_eq!(names, ["larder-0", "larder-1"]);
        drop(workers);
        assert!(tell.recv().is_err(), "what was under way is gone");
    }
}
