//! Purges that look through all keys, which may take longer than a request: each runs to its end, whoever still waits for it.

use std::{
    mem,
    time::{Duration, Instant},
};

use larder::{Result, document::Collection};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet, time::timeout};

use crate::purge::{Purge, Purged};

/// The most that run at the same time.
const MAX_RUNNING: usize = 64;

/// The purges of a server that are under way.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<JoinSet<()>>);

impl Running {
    /// Begins a purge on this runtime, which nothing but [`close`](Self::close) ends early. What comes of it is told to the
    /// receiver, and logged if that is gone. `None` if as many run as may.
    pub(crate) fn begin(
        &self,
        runtime: &Handle,
        collection: &Collection,
        name: &str,
        purge: Purge,
    ) -> Option<oneshot::Receiver<Result<Purged>>> {
        let mut running = self.0.lock();
        while running.try_join_next().is_some() {}
        if running.len() >= MAX_RUNNING {
            return None;
        }
        let (teller, told) = oneshot::channel();
        let (collection, name) = (collection.clone(), name.to_owned());
        let carrying_out = async move {
            let begun = Instant::now();
            let outcome = purge.carry_out(&collection).await;
            if let Err(untold) = teller.send(outcome) {
                log(&name, begun.elapsed(), untold);
            }
        };
        running.spawn_on(carrying_out, runtime);
        Some(told)
    }

    /// Waits for all of them, at most `patience`, and cuts off the others. Returns whether there were none.
    pub(crate) async fn close(&self, patience: Duration) -> bool {
        let mut running = mem::take(&mut *self.0.lock());
        timeout(patience, async { while running.join_next().await.is_some() {} }).await.is_ok()
    }
}

fn log(collection: &str, took: Duration, outcome: Result<Purged>) {
    let seconds = took.as_secs_f64();
    match outcome {
        Ok(Purged { matched, .. }) => {
            tracing::info!(
                collection,
                matched,
                seconds,
                "A purge that its request did not wait for has ended."
            );
        }
        Err(error) => {
            tracing::warn!(
                collection, seconds, %error,
                "A purge that its request did not wait for has failed: some may be purged; order it again."
            );
        }
    }
}
