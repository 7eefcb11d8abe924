//! Connections of single threads: a thread that runs a runtime of its own calls over a connection which that runtime drives.
//!
//! A reply then wakes its caller on the thread that read it, and what the two write to stays in the memory of one core.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify, task::JoinSet, time::sleep};

use super::{
    backoff::Backoff,
    link::Shared,
    supervisor::{Connected, reach, watch},
    url::Address,
    wire::Wire,
};
use crate::stripe::{SHARED, STRIPES, own};

/// How soon, and in the end how seldom, a lane is tried again that could not be opened. Nobody waits for it.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(30);

/// The lanes beside one connection, by the stripes of their threads. They lead to the same process of the same server as it
/// does, and are used for as long as it is: whoever watches that connection watches what stands behind them too.
#[derive(Debug)]
pub(super) struct Lanes(Box<[OnceLock<Wire>]>);

impl Lanes {
    /// Room for the lanes of these runtimes.
    pub(super) fn of(runtimes: &[Handle]) -> Self {
        let room = if runtimes.is_empty() { 0 } else { STRIPES };
        Self((0..room).map(|_| OnceLock::new()).collect())
    }

    /// This thread's.
    #[inline]
    pub(super) fn own(&self) -> Option<&Wire> {
        if self.0.is_empty() { None } else { self.0[own()].get() }
    }

    /// Gives this thread one, if it has none. Threads that share a stripe have none.
    fn take(&self, wire: &Wire) -> bool {
        own() != SHARED && self.0[own()].set(wire.clone()).is_ok()
    }
}

/// Opens a lane for each runtime beside what is `connected`, and keeps them until the set is dropped.
pub(super) fn hold_all(
    shared: &Arc<Shared>,
    lanes: &Arc<Lanes>,
    connected: &Connected,
    address: &Address,
    generation: u64,
) -> JoinSet<()> {
    let mut held = JoinSet::new();
    // Without a word on who answers, a lane might lead to another server than the connection does.
    let Some(run) = &connected.server.run else { return held };
    for runtime in &*shared.runtimes {
        // Weak: a runtime that stands still keeps no connection open.
        let (lanes, shared) = (Arc::downgrade(lanes), Arc::clone(shared));
        held.spawn_on(hold(shared, lanes, address.clone(), run.clone(), generation), runtime);
    }
    held
}

/// Opens the lane of the runtime that runs this. Completes when the lane has ended; then all of its generation is of no more use.
async fn hold(shared: Arc<Shared>, lanes: Weak<Lanes>, address: Address, run: String, generation: u64) {
    let mut backoff = Backoff::new(SOONEST, LATEST);
    let connected = loop {
        match reach(&shared.dialer, &address).await {
            Ok(connected) if connected.server.run.as_ref() == Some(&run) => break connected,
            Ok(_) => {
                tracing::debug!(%address, "Another Redis answers; its threads go without connections of their own.")
            }
            Err(error) => tracing::debug!(%error, "A thread goes without a Redis connection of its own."),
        }
        sleep(backoff.next(rand::random())).await;
    };
    if !lanes.upgrade().is_some_and(|lanes| lanes.take(&connected.wire)) {
        return;
    }
    let why = watch(&shared, connected, generation, &Notify::new()).await;
    tracing::debug!(%address, error = %why, "A thread has lost its own Redis connection.");
    shared.condemn(generation);
}
