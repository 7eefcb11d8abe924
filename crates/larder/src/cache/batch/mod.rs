//! Several keys at once: one near pass, one look for each shard, one call of the source, one write of all fills for each
//! shard.

mod board;
mod fly;
mod land;
mod look;
mod refresh;
mod shared;
mod wait;

use std::{fmt, future::Future, hash::Hash, sync::Arc};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        Cache, MissReason, Policy, Read, ReadMode, ReadOptions,
        coherence::Basis,
        entry::Lease,
        flight::{Leader, Spare},
        loader::LoadFuture,
        read::PLAIN,
    },
};

/// A loader of several keys, in their order. Called once for those that are missing, once for those that are stale, and again
/// only for keys that another node was loading and gave up.
pub(crate) type BatchLoader<K, V> = Arc<dyn Fn(Vec<K>) -> LoadFuture<Vec<Option<V>>> + Send + Sync>;

/// One key of a batch that this node leads.
pub(crate) struct Passenger<K: Hash + Eq, V> {
    pub(crate) leader: Leader<K, V>,
    pub(crate) text: String,
    pub(crate) basis: Basis,
    pub(crate) reason: MissReason,
    pub(crate) spare: Option<Spare<V>>,
    leased: Leased,
    /// Whether a write is under way, so that nothing may be kept.
    blocked: bool,
    /// Whether another node is at it, and is to tell when it is done.
    waits: bool,
}

/// Whether Redis granted the lease for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leased {
    No,
    /// It did not answer in time: it may grant the lease later, when nobody uses it.
    Perhaps,
    Yes,
}

impl<K: Hash + Eq, V> Passenger<K, V> {
    fn is_leased(&self) -> bool {
        self.leased == Leased::Yes
    }

    /// Redis did not say what it had, or whether it granted the lease.
    fn not_answered(&mut self, error: &Error) {
        if error.kind() == ErrorKind::Timeout {
            self.leased = Leased::Perhaps;
        }
    }
}

impl<K: Hash + Eq + fmt::Display, V> Passenger<K, V> {
    pub(crate) fn new(
        leader: Leader<K, V>,
        text: String,
        basis: Basis,
        reason: MissReason,
        spare: Option<Spare<V>>,
    ) -> Self {
        Self { leader, text, basis, reason, spare, leased: Leased::No, blocked: false, waits: false }
    }

    /// Shows the flight's readers what stale value there is, if they have a soft deadline.
    pub(crate) fn offer_spare(&self, policy: &Policy) {
        if let (Some(_), Some(spare)) = (policy.soft_deadline, &self.spare) {
            self.leader.offer(spare);
        }
    }
}

/// What all passengers of a batch have in common.
struct Trip<K, V> {
    policy: Policy,
    /// The tags that the call gives, by their hashes.
    tags: Vec<u64>,
    mode: ReadMode,
    load: BatchLoader<K, V>,
    lease: Lease,
}

impl<K, V> Trip<K, V> {
    fn new(options: &ReadOptions, policy: Policy, load: BatchLoader<K, V>) -> Self {
        Self { policy, tags: options.tag_hashes(), mode: options.mode, load, lease: Lease::random() }
    }

    /// What its refreshes have in common, which come behind it.
    fn behind(&self) -> Self {
        Self {
            policy: self.policy.clone(),
            tags: self.tags.clone(),
            mode: ReadMode::Cached,
            load: self.load.clone(),
            lease: Lease::random(),
        }
    }
}

/// What a source gave for so many keys.
fn for_each_key<V>(values: Vec<V>, keys: usize) -> Result<Vec<V>> {
    match values.len() {
        given if given == keys => Ok(values),
        given => {
            Err(Error::new(ErrorKind::Source, format!("the source gave {given} values for {keys} keys")))
        }
    }
}

/// What one look at Redis made of a passenger.
enum Next<K: Hash + Eq, V> {
    /// With its refresh, if it landed with something past its soft expiry.
    Landed(Option<Passenger<K, V>>),
    Load(Passenger<K, V>),
    Wait(Passenger<K, V>),
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Returns the values of several keys, in their order, loading all that are missing with one call of the source.
    ///
    /// A key that somebody else is loading is not loaded again. Cost: one round trip to Redis for each shard the keys
    /// fall into, and one more for each shard of which something had to be loaded: all its fills leave together, each under
    /// its own lease, with the leases of what cannot be stored (one more for each further MiB of values). One more if values
    /// that Redis has are past their time, and one if their tags are new to this node. All shards are asked at the same time.
    ///
    /// Values past their soft expiry are returned at once, inside the policy's stale window, and loaded anew behind the call:
    /// all of them with one more call of the source ([`Source::load_many`](crate::source::Source::load_many)), each key once at
    /// a time on this node and, while Redis is up, among all.
    ///
    /// # Errors
    /// The first error of any key; the keys that could be loaded are cached all the same.
    ///
    /// # Cancel safety
    /// As [`get_with`](Self::get_with).
    pub async fn get_many(&self, keys: &[K]) -> Result<Vec<Option<Arc<V>>>> {
        Ok(values(self.read_many(keys, &PLAIN).await?))
    }

    /// [`get_many`](Self::get_many) with options for all of its keys, and with each answer's origin, age and freshness.
    ///
    /// With [`ReadMode::Refresh`] all keys are loaded with one call of the source, and what is cached of them is replaced: one
    /// round trip for the leases of each shard, and one for its fills. With [`ReadMode::Bypass`] they are loaded with one call
    /// and Redis is not asked. A token says what the keys in its shard must have seen; the others are read as without it.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// use larder::cache::{Cache, ReadMode, ReadOptions};
    ///
    /// let lengths: Cache<String, usize> = Cache::builder("lengths").build()?;
    /// let keys = ["a".to_owned(), "bb".to_owned()];
    /// let anew = ReadOptions { mode: ReadMode::Refresh, tags: vec!["words".into()], ..Default::default() };
    /// let load = |keys: Vec<String>| async move { Ok(keys.iter().map(|key| Some(key.len())).collect()) };
    /// let read = lengths.read_many_with(&keys, &anew, load).await?;
    /// assert_eq!(read[1].value.as_deref(), Some(&2));
    /// lengths.invalidate_tag("words").await?;
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many); `ErrorKind::Timeout` if the options' deadline passed before all answers were there;
    /// `ErrorKind::Config` for a policy that cannot be.
    ///
    /// # Cancel safety
    /// As [`get_with`](Self::get_with).
    pub async fn read_many(&self, keys: &[K], options: &ReadOptions) -> Result<Vec<Read<V>>> {
        let source = self.inner.source()?.clone();
        let load: BatchLoader<K, V> = Arc::new(move |keys| {
            let source = source.clone();
            Box::pin(async move { source.load_many(&keys).await })
        });
        self.inner.read_many(keys, options, load).await
    }

    /// [`get_many`](Self::get_many) with a loader for the keys that are missing. It gets them in an order of its own
    /// and must give exactly as many values, in that order. It is called once for what is missing, once for what is stale, and
    /// again only for keys that another node was loading and gave up.
    ///
    /// # Errors
    /// As [`get_many`](Self::get_many).
    pub async fn get_many_with<F, Fut>(&self, keys: &[K], load: F) -> Result<Vec<Option<Arc<V>>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Option<V>>>> + Send + 'static,
    {
        Ok(values(self.read_many_with(keys, &PLAIN, load).await?))
    }

    /// [`read_many`](Self::read_many) with a loader, as [`get_many_with`](Self::get_many_with) has one.
    ///
    /// # Errors
    /// As [`read_many`](Self::read_many).
    ///
    /// # Cancel safety
    /// As [`get_with`](Self::get_with).
    pub async fn read_many_with<F, Fut>(
        &self,
        keys: &[K],
        options: &ReadOptions,
        load: F,
    ) -> Result<Vec<Read<V>>>
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Option<V>>>> + Send + 'static,
    {
        self.inner.read_many(keys, options, Arc::new(move |keys| Box::pin(load(keys)))).await
    }
}

fn values<V>(reads: Vec<Read<V>>) -> Vec<Option<Arc<V>>> {
    reads.into_iter().map(|read| read.value).collect()
}
