//! The watch as its user holds it, and its settings.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    listen::{Changes, Listeners},
    poll::Polling,
    seat::Seat,
    shared::Lease,
    stats::{Figures, WatchStats},
    watcher::Watcher,
};
use crate::{
    Error, ErrorKind, Result,
    document::{Collection, FieldType},
};

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const SHORTEST_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running watch. Cheap to clone; dropping the last clone ends it, and the other nodes notice when the lease runs out.
///
/// # Examples
/// ```no_run
/// # async fn run() -> larder::Result<()> {
/// use larder::{document::{Database, IdType, Schema, Watch}, redis::Redis};
///
/// let redis = Redis::connect("redis://localhost").await?;
/// let database = Database::mongo("mongodb://localhost/shop?replicaSet=rs0").await?;
/// let products = database.collection(Schema::new("products", IdType::Int)).redis(&redis).build()?;
///
/// let watch = Watch::builder([&products]).start()?;
/// // From now on a write of any program to `shop.products` is seen by `products.get`, on every node.
/// for collection in watch.stats() {
///     println!("{}: {}, {:?} behind", collection.collection, collection.role.name(), collection.lag);
/// }
/// watch.stop().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    watched: Vec<(String, Arc<Figures>)>,
    /// Held by the watchers alone: when the last one has ended, listeners are told so.
    listeners: Weak<Listeners>,
    stop: CancellationToken,
    /// Own the watchers.
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.inner.watched.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Watch").field("collections", &names).finish_non_exhaustive()
    }
}

impl Watch {
    /// Begins a watch of these collections. Those that share a Redis are watched by one node of all that do.
    pub fn builder<'a>(collections: impl IntoIterator<Item = &'a Collection>) -> WatchBuilder {
        WatchBuilder {
            collections: collections.into_iter().cloned().collect(),
            lease: Duration::from_secs(5),
            margin: Duration::from_secs(30),
            updated_at: Vec::new(),
            poll_interval: Duration::from_secs(1),
        }
    }

    /// Where each collection stands, in the order in which they were given. No I/O.
    pub fn stats(&self) -> Vec<WatchStats> {
        self.inner.watched.iter().map(|(name, figures)| figures.snapshot(name)).collect()
    }

    /// Listens to the changes that this process applies from now on, in the order of each collection. Each call listens for itself.
    /// To hear everything from the start of the watch, begin it with [`WatchBuilder::start_listening`].
    ///
    /// A change is told after its invalidation was acknowledged, so that a read of this node that follows sees it; with the default
    /// consistency a read of another node sees it within the bound. One that some shard does not acknowledge, because a primary of a
    /// cluster is away, and those after it, are told when that is back. It is told before the watch's point is stored behind it,
    /// so at least once: after a failure some are told again. Documents are named by their key alone. Whenever this process
    /// begins to apply the changes of a collection it says so ([`Resumed`](super::Told::Resumed), or
    /// [`HistoryLost`](super::Told::HistoryLost) if something may have been changed of which nobody can be told).
    ///
    /// **Only the process that leads a collection's watch is told of its changes**; all others hear nothing until they take over.
    /// So listen in all of them, and let what is done be seen by all: a publication in Redis, a row in a database.
    ///
    /// Listeners never slow the watch down. 4,096 things stand ready for them (about half a megabyte, taken by the first
    /// listener); one that is further behind is told how many it has [missed](super::Told::Missed). They stand in memory: what a
    /// process had been told, and had not acted on when it died, is not told to its successor.
    ///
    /// With a poll in the place of a change stream ([`WatchBuilder::updated_at`]) each change is a
    /// [`ChangeKind::Polled`](super::ChangeKind::Polled): several of one document may be told as one, and deletions are not told.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> larder::Result<()> {
    /// use bson::{DateTime, doc};
    /// use larder::document::{Database, Field, FieldType, Id, IdType, Schema, Told, Watch};
    ///
    /// let database = Database::sqlite_in_memory().await?;
    /// let dated = Field::new("updatedAt", FieldType::Date).filterable().sortable();
    /// let products = database.collection(Schema::new("products", IdType::Int).field(dated)).build()?;
    /// let watch = Watch::builder([&products]).updated_at("products", "updatedAt").start()?;
    ///
    /// let mut changes = watch.changes();
    /// products.put(&Id::Int(7), doc! { "_id": 7, "updatedAt": DateTime::now() }).await?;
    /// while let Some(told) = changes.next().await {
    ///     match told {
    ///         Told::Change { collection, change } => {
    ///             println!("{collection}: {:?} {:?}", change.id, change.kind);
    ///             break;
    ///         }
    ///         Told::HistoryLost { .. } | Told::Missed(_) => println!("read again whatever you keep"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn changes(&self) -> Changes {
        // Of a watch that has ended: one that ends at once.
        self.inner.listeners.upgrade().unwrap_or_default().subscribe()
    }

    /// Stops watching and lets another node lead at once. Returns when everything has ended.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the tasks to end by themselves, or with the last handle.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        join_all(tasks).await;
    }
}

/// Puts a [`Watch`] together; made by [`Watch::builder`].
#[derive(Debug)]
#[must_use]
pub struct WatchBuilder {
    collections: Vec<Collection>,
    lease: Duration,
    margin: Duration,
    /// Collection and field.
    updated_at: Vec<(String, String)>,
    poll_interval: Duration,
}

impl WatchBuilder {
    /// For how long a leader that is not heard of stays the leader: the longest time for which a crash of it holds changes
    /// up. Renewed three times in its length. Default: 5 s.
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
        self
    }

    /// After Redis came back with another history, changes are applied again from this long before the old one was last
    /// seen: longer than the replicas of Redis ever lag behind. Points are kept for two minutes. Default: 30 s.
    pub fn rewind_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Names the field of a collection that says when a document was last changed. Where the database has no change streams it
    /// is polled; where it has them this changes nothing. Whoever writes must set it, to the present time. It must be
    /// declared as a date that can be sorted by, and needs an index. Default: none, and nothing is polled.
    pub fn updated_at(mut self, collection: impl Into<String>, field: impl Into<String>) -> Self {
        self.updated_at.push((collection.into(), field.into()));
        self
    }

    /// How often such a field is polled. Default: 1 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Config, what));
        if self.collections.is_empty() {
            return wrong("a watch needs a collection".into());
        }
        if self.lease < SHORTEST_LEASE || self.poll_interval < SHORTEST_POLL_INTERVAL {
            return wrong("the lease of a watch must be 100 ms or longer, its poll interval 10 ms".into());
        }
        for (name, field) in &self.updated_at {
            let Some(collection) = self.collections.iter().find(|it| it.schema().name() == name) else {
                return wrong(format!(
                    "the collection {name} is not watched, so its {field} cannot be polled"
                ));
            };
            let declared = collection.schema().find_field(field);
            if !declared.is_some_and(|it| it.is_sortable() && *it.field_type() == FieldType::Date) {
                return wrong(format!("{name}.{field} must be declared as a date that can be sorted by"));
            }
        }
        Ok(())
    }

    fn polling_of(&self, collection: &Collection) -> Option<Polling> {
        let (_, field) = self.updated_at.iter().find(|(name, _)| name == collection.schema().name())?;
        Some(Polling { field: field.clone(), interval: self.poll_interval })
    }

    /// Starts watching. Does no I/O: a database or a Redis that is away is found when it comes. Must be called inside a Tokio
    /// runtime.
    ///
    /// # Errors
    /// `ErrorKind::Config` if there is no collection, if the lease is shorter than 100 ms or the poll interval than 10 ms, or if
    /// a field to be polled is not as [`updated_at`](Self::updated_at) says.
    pub fn start(self) -> Result<Watch> {
        self.check()?;
        Ok(self.start_telling(&Arc::default()))
    }

    /// Starts watching, and listens before it does: [`Watch::changes`] called after `start` may come too late for what is told
    /// first, that this process applies changes and whether any may be unknown.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> larder::Result<()> {
    /// use larder::document::{Database, Field, FieldType, IdType, Schema, Told, Watch};
    ///
    /// let database = Database::sqlite_in_memory().await?;
    /// let dated = Field::new("updatedAt", FieldType::Date).filterable().sortable();
    /// let products = database.collection(Schema::new("products", IdType::Int).field(dated)).build()?;
    /// let (watch, mut changes) =
    ///     Watch::builder([&products]).updated_at("products", "updatedAt").start_listening()?;
    /// // Nobody has watched before.
    /// assert!(matches!(changes.next().await, Some(Told::HistoryLost { .. })));
    /// watch.stop().await;
    /// # Ok(()) }
    /// ```
    pub fn start_listening(self) -> Result<(Watch, Changes)> {
        self.check()?;
        let listeners = Arc::<Listeners>::default();
        // Before the first watcher runs, on whatever thread.
        let changes = listeners.subscribe();
        Ok((self.start_telling(&listeners), changes))
    }

    fn start_telling(self, listeners: &Arc<Listeners>) -> Watch {
        let stop = CancellationToken::new();
        let (mut watched, mut tasks) = (Vec::new(), Vec::new());
        for collection in &self.collections {
            let figures = Arc::new(Figures::default());
            let seat = match collection.cache().shared() {
                Some(shared) => Seat::Shared(Lease::new(shared.clone(), rand::random(), self.lease)),
                None => Seat::Own(Mutex::default()),
            };
            let watcher = Watcher {
                collection: collection.clone(),
                seat,
                lease: self.lease,
                margin: self.margin,
                polling: self.polling_of(collection),
                figures: figures.clone(),
                listeners: listeners.clone(),
            };
            watched.push((collection.schema().name().to_owned(), figures));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(watcher.run(stop.clone()))));
        }
        let listeners = Arc::downgrade(listeners);
        Watch { inner: Arc::new(Inner { watched, listeners, stop, tasks: Mutex::new(tasks) }) }
    }
}
