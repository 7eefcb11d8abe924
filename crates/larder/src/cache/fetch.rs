//! A flight's way: ask Redis, take the lease, load, fill, and say what the near tier may keep.

use std::{fmt, future::Future, hash::Hash, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Policy, Read, ReadMode, Served,
        entry::{Envelope, Freshness, Lease, Lifetime, Slot},
        flight::Leader,
        inner::{Inner, NearLook},
        near::NearEntry,
        shared::{LEASE, Lookup, Shared},
        stats::Counter,
    },
};

/// The pause before a refresh that failed, or that another node is doing, is tried again.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// The first and the longest pause between two looks at another node's lease.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));

/// A loader that is ready to be called once.
pub(crate) type Loader<T> = Box<dyn FnOnce() -> LoadFuture<T> + Send>;
pub(crate) type LoadFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What a flight knows when it begins.
pub(crate) struct Plan<V> {
    pub(crate) policy: Policy,
    pub(crate) mode: ReadMode,
    /// Why the near tier did not answer.
    pub(crate) reason: MissReason,
    /// What this flight leases under: chosen before the first look, so that a repeat finds its own lease.
    pub(crate) lease: Lease,
    /// What the first look found, if there was one.
    pub(crate) first: Option<Result<Lookup>>,
    /// Something past its time, and who has it, for the case that the source fails.
    pub(crate) spare: Option<(NearEntry<V>, Served)>,
}

/// What a flight brings home.
struct Fetched<V> {
    answer: Result<Read<V>>,
    /// What the near tier may keep, unless an invalidation came.
    keep: Option<NearEntry<V>>,
    after: After<V>,
}

/// What remains to be done once the readers have their answer.
enum After<V> {
    Nothing,
    /// The answer was stale: refresh it.
    Refresh(Loader<Option<V>>),
    /// The load brought nothing to store: let others try.
    Release(Lease),
    /// The same, because the value is too large.
    TooLarge(Lease),
}

/// What the look at Redis came to.
enum Right<V> {
    /// Redis has the value.
    Found(NearEntry<V>),
    /// Load and fill under the flight's lease. Perhaps there is something stale for the case that the load fails.
    Leased(MissReason, Option<NearEntry<V>>),
    /// Load, and store nothing in Redis.
    Unleased(MissReason),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Flies one key: fetches it, lands the flight, and does what is left.
    pub(crate) async fn fly(self: Arc<Self>, leader: Leader<K, V>, plan: Plan<V>, load: Loader<Option<V>>) {
        let text = leader.key().to_string();
        let key = leader.key().clone();
        let policy = plan.policy.clone();
        let fetched = self.fetch(&text, plan, load).await;
        if matches!(fetched.after, After::TooLarge(_)) {
            self.remember(&key, MissReason::TooLarge);
        }
        leader.land(fetched.answer, || self.keep_near(&key, fetched.keep));
        match fetched.after {
            After::Refresh(load) => self.refresh(key, policy, load).await,
            after => self.clean_up(&text, after).await,
        }
    }

    /// Refreshes a stale value behind its readers, one refresh of a key at a time on this node, and one among all
    /// nodes by the lease beside the slot. One that comes to nothing stays registered for a moment, so that a failing
    /// source is not asked again by every reader.
    pub(crate) async fn refresh(self: Arc<Self>, key: K, policy: Policy, load: Loader<Option<V>>) {
        let Some(leader) = self.flights.begin_refresh(&key, self.clock.monotonic_ms()) else { return };
        // Between the caller's look and ours an earlier refresh may have landed.
        if matches!(self.look_near(&key), NearLook::Fresh(_)) {
            return leader.land(Err(Error::new(ErrorKind::Lost, "refreshed meanwhile")), || {});
        }
        self.stats.count(Counter::Refreshes);
        let text = key.to_string();
        let lease = Lease::random();
        let fetched = match self.right_to_refresh(&text, &lease).await {
            Some(Right::Found(entry)) => self.found(entry, None),
            Some(Right::Leased(reason, _)) => {
                self.load_and_fill(&text, Some(lease), reason, &policy, load).await
            }
            Some(Right::Unleased(reason)) => self.load_and_fill(&text, None, reason, &policy, load).await,
            None => failed(Error::new(ErrorKind::Lost, "another node refreshes this key")),
        };
        if fetched.keep.is_some() {
            return leader.land(fetched.answer, || self.keep_near(&key, fetched.keep));
        }
        self.clean_up(&text, fetched.after).await;
        sleep(REFRESH_PAUSE).await;
        leader.land(fetched.answer, || {});
    }

    async fn clean_up(&self, text: &str, after: After<V>) {
        match after {
            After::Nothing | After::Refresh(_) => {}
            After::Release(lease) | After::TooLarge(lease) => self.give_back(text, &lease).await,
        }
    }

    pub(crate) async fn give_back(&self, text: &str, lease: &Lease) {
        if let Some(shared) = &self.shared
            && shared.release(text, lease).await.is_err()
        {
            // It runs out by itself.
            self.stats.count(Counter::SharedErrors);
        }
    }

    pub(crate) fn keep_near(&self, key: &K, entry: Option<NearEntry<V>>) {
        if let (Some(near), Some(entry)) = (&self.near, entry) {
            near.insert(key.clone(), entry);
        }
    }

    async fn fetch(&self, text: &str, mut plan: Plan<V>, load: Loader<Option<V>>) -> Fetched<V> {
        let (lease, reason) = match self.right_to_load(text, &mut plan).await {
            Right::Found(entry) => return self.found(entry, Some(load)),
            Right::Unleased(reason) => (None, reason),
            Right::Leased(reason, spare) => {
                plan.spare = spare.map(|entry| (entry, Served::Shared)).or(plan.spare);
                (Some(plan.lease), reason)
            }
        };
        let fetched = self.load_and_fill(text, lease, reason, &plan.policy, load).await;
        match (&fetched.answer, plan.spare) {
            (Err(_), Some((spare, served))) => self.fail_safe(fetched, &spare, served),
            _ => fetched,
        }
    }

    /// The source failed, and something stale is still inside its window: serve that, marked as such.
    fn fail_safe(&self, fetched: Fetched<V>, spare: &NearEntry<V>, served: Served) -> Fetched<V> {
        let now_ms = self.clock.monotonic_ms();
        match spare.life.at_age(spare.age_ms(now_ms)) {
            Freshness::Expired => fetched,
            _ => Fetched { answer: Ok(spare.read(served, now_ms)), ..fetched },
        }
    }

    async fn right_to_load(&self, text: &str, plan: &mut Plan<V>) -> Right<V> {
        let Some(shared) = &self.shared else { return Right::Unleased(plan.reason) };
        if !shared.unsent.trusts(text, self.clock.monotonic_ms()) {
            return Right::Unleased(MissReason::Invalidated);
        }
        if plan.mode == ReadMode::Refresh {
            return match shared.lease_refresh(text, &plan.lease).await {
                Ok(true) => Right::Leased(MissReason::Asked, None),
                Ok(false) => Right::Unleased(MissReason::Asked),
                Err(_) => self.unleased_by_error(),
            };
        }
        self.look_until_decided(shared, text, plan).await
    }

    /// Looks at the slot until it has a value, or we have its lease, or we have waited long enough for another node.
    async fn look_until_decided(&self, shared: &Shared, text: &str, plan: &mut Plan<V>) -> Right<V> {
        let give_up = Instant::now() + plan.policy.load_deadline;
        let mut pause = POLL.0;
        loop {
            let found = match plan.first.take() {
                Some(first) => first,
                None => shared.lookup(text, &plan.lease).await,
            };
            let decided = match found {
                Ok(Lookup::Leased) => Some(Right::Leased(plan.reason, None)),
                Ok(Lookup::Value(envelope)) => self.judge(shared, text, &plan.lease, &envelope).await,
                Ok(Lookup::Corrupt) => self.take_over(shared, text, &plan.lease).await,
                Ok(Lookup::Busy) => None,
                Err(_) => Some(self.unleased_by_error()),
            };
            if let Some(right) = decided {
                return right;
            }
            if Instant::now() >= give_up {
                return Right::Unleased(plan.reason);
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 3 / 2).min(POLL.1);
        }
    }

    /// Whether a value that was found can be served; one that is only good as a spare is replaced.
    async fn judge(
        &self,
        shared: &Shared,
        text: &str,
        lease: &Lease,
        envelope: &Envelope,
    ) -> Option<Right<V>> {
        let Some(entry) = self.entry_from(envelope) else { return self.take_over(shared, text, lease).await };
        match entry.life.at_age(entry.age_ms(self.clock.monotonic_ms())) {
            Freshness::Fresh | Freshness::Stale => Some(Right::Found(entry)),
            Freshness::Fallback | Freshness::Expired => match shared.lease_refresh(text, lease).await {
                Ok(true) => Some(Right::Leased(MissReason::Expired, Some(entry))),
                Ok(false) => None,
                Err(_) => Some(self.unleased_by_error()),
            },
        }
    }

    /// Something foreign or damaged is in the slot: count it, and replace it under the lease beside it.
    async fn take_over(&self, shared: &Shared, text: &str, lease: &Lease) -> Option<Right<V>> {
        self.stats.count(Counter::Corrupt);
        tracing::debug!(cache = %self.name, key = text, "A stored value is foreign or damaged and will be replaced.");
        match shared.lease_refresh(text, lease).await {
            Ok(true) => Some(Right::Leased(MissReason::Corrupt, None)),
            Ok(false) => None,
            Err(_) => Some(self.unleased_by_error()),
        }
    }

    /// `None` when another node is at it, or Redis cannot say.
    async fn right_to_refresh(&self, text: &str, lease: &Lease) -> Option<Right<V>> {
        let Some(shared) = &self.shared else { return Some(Right::Unleased(MissReason::Expired)) };
        // Another node may have been faster.
        if let Ok(Some(Slot::Value(envelope))) = shared.peek(text).await
            && let Some(entry) = self.entry_from(&envelope)
            && entry.freshness(self.clock.monotonic_ms()) == Freshness::Fresh
        {
            return Some(Right::Found(entry));
        }
        match shared.lease_refresh(text, lease).await {
            Ok(true) => Some(Right::Leased(MissReason::Expired, None)),
            Ok(false) => None,
            Err(_) => Some(self.unleased_by_error()),
        }
    }

    fn unleased_by_error(&self) -> Right<V> {
        self.stats.count(Counter::SharedErrors);
        Right::Unleased(MissReason::Error)
    }

    /// A near copy of a stored value; `None` if the codec does not understand it.
    pub(crate) fn entry_from(&self, envelope: &Envelope) -> Option<NearEntry<V>> {
        let codec = self.codec.as_ref()?;
        if envelope.codec != codec.id() {
            return None;
        }
        let value = match &envelope.payload {
            Some(payload) => Some(Arc::new(codec.decode(payload).ok()?)),
            None => None,
        };
        Some(self.entry_of(value, envelope.life, envelope.age_ms(self.clock.unix_ms())))
    }

    /// A near copy of a value that was loaded `age_ms` ago and reached this node now.
    pub(crate) fn entry_of(&self, value: Option<Arc<V>>, life: Lifetime, age_ms: u64) -> NearEntry<V> {
        let weight = value.as_deref().map_or(1, |value| (self.weigher)(value));
        NearEntry {
            value,
            created_ms: self.clock.monotonic_ms().saturating_sub(age_ms),
            near_until_ms: age_ms.saturating_add(self.near_ttl_ms).min(u64::from(u32::MAX)) as u32,
            life,
            weight,
        }
    }

    fn found(&self, entry: NearEntry<V>, load: Option<Loader<Option<V>>>) -> Fetched<V> {
        let read = entry.read(Served::Shared, self.clock.monotonic_ms());
        let after = match load {
            Some(load) if read.stale => After::Refresh(load),
            _ => After::Nothing,
        };
        Fetched { answer: Ok(read), keep: Some(entry), after }
    }

    /// Loads, and stores the value under the lease, if there is one.
    async fn load_and_fill(
        &self,
        text: &str,
        lease: Option<Lease>,
        reason: MissReason,
        policy: &Policy,
        load: Loader<Option<V>>,
    ) -> Fetched<V> {
        let loading = self.load(policy, load);
        let loaded = match (&self.shared, &lease) {
            (Some(shared), Some(lease)) => while_renewing(shared, &[text], lease, loading).await,
            _ => loading.await,
        };
        match loaded {
            Ok(value) => self.store(text, lease, reason, policy, value.map(Arc::new)).await,
            Err(error) => Fetched { after: lease.map_or(After::Nothing, After::Release), ..failed(error) },
        }
    }

    /// One call of the source: its turn among the others and its work, under one deadline.
    pub(crate) async fn load<T>(&self, policy: &Policy, load: Loader<T>) -> Result<T> {
        let work = async {
            let _turn = self.loads.acquire().await.expect("the semaphore is never closed");
            self.stats.count(Counter::Loads);
            let loading = AssertUnwindSafe(async move { load().await });
            loading
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Source, "the loader panicked")))
        };
        let result = timeout(policy.load_deadline, work).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the source did not answer before the load deadline"))
        });
        if result.is_err() {
            self.stats.count(Counter::LoadErrors);
        }
        result
    }

    /// Fills Redis, and decides what the near tier may keep.
    async fn store(
        &self,
        text: &str,
        lease: Option<Lease>,
        reason: MissReason,
        policy: &Policy,
        value: Option<Arc<V>>,
    ) -> Fetched<V> {
        let life = policy.lifetime(value.is_some());
        let answer = Ok(loaded(value.clone(), life, reason));
        let release = |lease: Option<Lease>| lease.map_or(After::Nothing, After::Release);
        let Some(life) = life else { return Fetched { answer, keep: None, after: release(lease) } };
        let entry = self.entry_of(value, life, 0);
        let (Some(shared), Some(lease)) = (&self.shared, lease) else {
            return Fetched { answer, keep: Some(entry), after: After::Nothing };
        };
        let bytes = match self.envelope_of(entry.value.as_deref(), life, policy) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                return Fetched { answer, keep: None, after: After::TooLarge(lease) };
            }
            Err(error) => {
                tracing::warn!(cache = %self.name, key = text, %error, "A value cannot be encoded and is not cached.");
                return Fetched { answer, keep: None, after: After::Release(lease) };
            }
        };
        let filled = shared.fill(text, &lease, &bytes, life.keep_ms()).await;
        let keep = self.count_fill(&filled).then_some(entry);
        Fetched { answer, keep, after: After::Nothing }
    }

    /// Counts the outcome of a fill; false if an invalidation came while we loaded, so that what we have may be older
    /// than it. When Redis did not answer, the near tier may still keep the value for its short while.
    pub(crate) fn count_fill(&self, filled: &Result<bool>) -> bool {
        self.stats.count(match filled {
            Ok(true) => Counter::FillsAccepted,
            Ok(false) => Counter::FillsRefused,
            Err(_) => Counter::SharedErrors,
        });
        !matches!(filled, Ok(false))
    }

    /// The bytes for Redis.
    pub(crate) fn envelope_of(&self, value: Option<&V>, life: Lifetime, policy: &Policy) -> Result<Vec<u8>> {
        let codec = self.codec.as_ref().ok_or_else(|| Error::new(ErrorKind::Config, "no codec"))?;
        let payload = value.map(|value| codec.encode(value)).transpose()?;
        if payload.as_ref().is_some_and(|payload| payload.len() > policy.max_entry_bytes) {
            return Err(Error::new(ErrorKind::TooLarge, "the value is larger than max_entry_bytes"));
        }
        let created_unix_ms = self.clock.unix_ms();
        let envelope = Envelope { payload, codec: codec.id(), created_unix_ms, life };
        Ok(envelope.encode(policy.compress_above_bytes))
    }
}

/// Runs a load while its leases are prolonged: a slow load keeps them, a dead node loses them.
pub(crate) async fn while_renewing<T>(
    shared: &Shared,
    texts: &[&str],
    lease: &Lease,
    loading: impl Future<Output = T>,
) -> T {
    tokio::pin!(loading);
    loop {
        if let Ok(loaded) = timeout(LEASE / 3, &mut loading).await {
            return loaded;
        }
        let renewals = async {
            for text in texts {
                // A lost lease is noticed by the fill, which is refused.
                let _ = shared.renew(text, lease).await;
            }
        };
        tokio::select! {
            loaded = &mut loading => return loaded,
            () = renewals => {}
        }
    }
}

/// The answer of a load.
pub(crate) fn loaded<V>(value: Option<Arc<V>>, life: Option<Lifetime>, reason: MissReason) -> Read<V> {
    Read {
        value,
        served: Served::Source,
        reason: Some(reason),
        age: Duration::ZERO,
        ttl: life.map_or(Duration::ZERO, |life| Duration::from_millis(life.fresh_ms.into())),
        stale: false,
    }
}

fn failed<V>(error: Error) -> Fetched<V> {
    Fetched { answer: Err(error), keep: None, after: After::Nothing }
}
