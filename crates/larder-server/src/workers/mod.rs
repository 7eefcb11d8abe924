//! The threads that answer requests, each with a runtime of its own.

mod gauge;
mod idle;
mod moves;
mod placing;
mod threads;

use std::{
    io,
    num::NonZeroUsize,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

pub(crate) use self::{
    moves::Moves,
    threads::{LOOK, Threads},
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
    /// Gone, it ends the thread.
    stay: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

    /// The runtimes of all of them.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.runtime.clone()).collect()
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
        Ok(Self { runtime: handle, stay: Some(stay), thread: Some(thread) })
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

#[cfg(test)]
mod tests {
    use super::*;

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
