//! A node that can be frozen.

use std::{sync::mpsc, thread};

use larder::document::{Collection, Watch};
use tokio::{runtime, sync::oneshot};

use super::place::{Place, watch};

/// A node on a thread of its own, which can be frozen as SIGSTOP freezes a process: its connections, its timers, everything.
pub(crate) struct Process {
    handle: runtime::Handle,
    pub(crate) node: Collection,
    pub(crate) watch: Watch,
    _end: oneshot::Sender<()>,
}

impl Process {
    /// Makes the node on its thread, so that all that is its own runs there.
    pub(crate) async fn start(
        place: &Place,
        node: impl AsyncFnOnce(Place) -> Collection + Send + 'static,
    ) -> Self {
        let place = place.clone();
        let (end, ended) = oneshot::channel::<()>();
        let (started, starting) = oneshot::channel();
        thread::spawn(move || {
            let runtime =
                runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async {
                let node = node(place).await;
                let watch = watch(&node).start().expect("the lease is long enough");
                assert!(started.send((runtime::Handle::current(), node, watch)).is_ok());
                let _ = ended.await;
            });
        });
        let (handle, node, watch) = starting.await.expect("the thread starts");
        Self { handle, node, watch, _end: end }
    }

    /// Freezes it until what is returned is dropped.
    pub(crate) async fn freeze(&self) -> mpsc::Sender<()> {
        let (thaw, thawed) = mpsc::channel();
        let (freezing, frozen) = oneshot::channel();
        self.handle.spawn(async move {
            assert!(freezing.send(()).is_ok());
            // Blocks the only thread there is.
            let _ = thawed.recv();
        });
        frozen.await.expect("the thread runs");
        thaw
    }
}
