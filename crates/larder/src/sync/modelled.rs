//! The same primitives with points between their uses at which a model may change threads.
//!
//! Atomics count as sequentially consistent, as everywhere in Shuttle: a weaker order that is too weak is not found.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        PoisonError,
        atomic::{self, Ordering},
    },
};

use shuttle::{current, sync as turns};
use tokio::{
    runtime::Handle,
    sync::{self, futures::Notified},
};
use tokio_util::task;

/// Whether this code runs inside a model.
fn is_modelled() -> bool {
    current::try_get_current_task().is_some()
}

/// Inside a model: another thread may go on here.
pub(crate) fn step() {
    // A model's threads are all on one of the system's.
    thread_local! {
        static POINT: turns::atomic::AtomicBool = const { turns::atomic::AtomicBool::new(false) };
    }
    if is_modelled() {
        POINT.with(|point| point.load(Ordering::SeqCst));
    }
}

macro_rules! atomic {
    ($name:ident of $value:ty: $($method:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            $(pub(crate) fn $method(&self, $($argument: $kind),*) -> $answer {
                step();
                self.0.$method($($argument),*)
            })*
        }
    };
}

atomic! { AtomicU32 of u32:
    load(order: Ordering) -> u32;
    fetch_add(value: u32, order: Ordering) -> u32;
    compare_exchange(current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32>;
}

atomic! { AtomicU64 of u64:
    load(order: Ordering) -> u64;
    store(value: u64, order: Ordering) -> ();
    fetch_add(value: u64, order: Ordering) -> u64;
    fetch_max(value: u64, order: Ordering) -> u64;
}

/// A cell that is set once.
#[derive(Debug)]
pub(crate) struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> OnceLock<T> {
    pub(crate) const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        step();
        self.0.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        step();
        self.0.set(value)
    }
}

/// Wakes whoever waits.
#[derive(Debug)]
pub(crate) struct Notify(sync::Notify);

impl Notify {
    pub(crate) const fn new() -> Self {
        Self(sync::Notify::const_new())
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        step();
        self.0.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        step();
        self.0.notify_waiters();
    }
}

/// A lock for which a model's threads take turns, so that the lock within is always free.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    turns: turns::Mutex<()>,
    inner: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { turns: turns::Mutex::new(()), inner: parking_lot::Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<parking_lot::MutexGuard<'_, T>, turns::MutexGuard<'_, ()>> {
        let turn = is_modelled().then(|| self.turns.lock().unwrap_or_else(PoisonError::into_inner));
        Guard { inner: self.inner.lock(), _turn: turn }
    }
}

/// As [`Mutex`], for many readers or one writer.
#[derive(Debug)]
pub(crate) struct RwLock<T> {
    turns: turns::RwLock<()>,
    inner: parking_lot::RwLock<T>,
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self { turns: turns::RwLock::new(()), inner: parking_lot::RwLock::default() }
    }
}

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>, turns::RwLockReadGuard<'_, ()>> {
        let turn = is_modelled().then(|| self.turns.read().unwrap_or_else(PoisonError::into_inner));
        Guard { inner: self.inner.read(), _turn: turn }
    }

    pub(crate) fn write(
        &self,
    ) -> Guard<parking_lot::RwLockWriteGuard<'_, T>, turns::RwLockWriteGuard<'_, ()>> {
        let turn = is_modelled().then(|| self.turns.write().unwrap_or_else(PoisonError::into_inner));
        Guard { inner: self.inner.write(), _turn: turn }
    }
}

/// The lock is given back before the turn: fields are dropped in their order.
pub(crate) struct Guard<G, T> {
    inner: G,
    _turn: Option<T>,
}

impl<G: Deref, T> Deref for Guard<G, T> {
    type Target = G::Target;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<G: DerefMut, T> DerefMut for Guard<G, T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

/// Owns tasks; inside a model they are the model's.
#[derive(Debug)]
pub(crate) struct TaskTracker(task::TaskTracker);

impl TaskTracker {
    pub(crate) fn new() -> Self {
        Self(task::TaskTracker::new())
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(task, &Handle::current());
    }

    pub(crate) fn spawn_on(&self, task: impl Future<Output = ()> + Send + 'static, runtime: &Handle) {
        if is_modelled() {
            drop(shuttle::future::spawn(self.0.track_future(task)));
        } else {
            drop(self.0.spawn_on(task, runtime));
        }
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) async fn wait(&self) {
        self.0.wait().await;
    }
}
