//! A flight's way: ask Redis, take the lease, load, fill, and say what the near tier may keep.

use std::{fmt, future::Future, hash::Hash, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::{
    Error, ErrorKind, Result,
    cache::{
        MissReason, Policy, Read, ReadMode, Served,
        coherence::Basis,
        confirm::{Loaded, Previous},
        entry::{Envelope, Freshness, Lease},
        event::key_hash,
        flight::{Leader, Spare},
        inner::Inner,
        loader::{LoadFuture, Loader},
        near::NearEntry,
        refresh::RefreshOrder,
        route::Route,
        shared::{LEASE, Lookup, Shared},
        stats::Counter,
        store::{Load, loaded},
        waiters::Pauses,
    },
};

/// How often a value is looked at again because its key was invalidated meanwhile, before it is loaded anew.
const SECOND_LOOKS: u32 = 2;

/// What a flight knows when it begins.
pub(crate) struct Plan<V> {
    /// The key's text form.
    pub(crate) text: String,
    /// What this node knew of invalidations before the last look.
    pub(crate) basis: Basis,
    pub(crate) policy: Policy,
    /// The tags that the call gives, by their hashes.
    pub(crate) tags: Vec<u64>,
    pub(crate) mode: ReadMode,
    /// Why the near tier did not answer.
    pub(crate) reason: MissReason,
    /// What this flight leases under: chosen before the first look, so that a repeat finds its own lease.
    pub(crate) lease: Lease,
    /// What the first look found, if there was one.
    pub(crate) first: Option<Result<Lookup>>,
    /// Whether another node is at it, and is to tell when it is done.
    pub(crate) waits: bool,
    /// Whether a look ran out of time: Redis may give it the lease later, when nobody uses it.
    pub(crate) perhaps_leased: bool,
    /// Something past its time, and who has it, for the case that the source fails.
    pub(crate) spare: Option<Spare<V>>,
}

/// What a flight brings home.
pub(crate) struct Fetched<V> {
    pub(crate) answer: Result<Read<V>>,
    /// What the near tier may keep, unless an invalidation came.
    pub(crate) keep: Option<NearEntry<V>>,
    pub(crate) after: After<V>,
}

/// What remains to be done once the readers have their answer.
pub(crate) enum After<V> {
    Nothing,
    /// The answer was stale, or drawn to be refreshed before it is, then with its creation: refresh it.
    Refresh(Loader<V>, Option<u64>),
    /// The load brought nothing to store: let others try.
    Release(Lease),
    /// The same, with a lease or without, because the value is too large.
    TooLarge(Option<Lease>),
}

/// What the look at Redis came to.
pub(crate) enum Right<V> {
    /// Redis has the value.
    Found(NearEntry<V>),
    /// Load and fill under the flight's lease. Perhaps there is something stale for the case that the load fails.
    Leased(MissReason, Option<Previous<V>>),
    /// Load, and store nothing in Redis.
    Unleased(MissReason),
    /// Load, and keep it nowhere: a write is under way.
    Blocked,
    /// A load that was under way has failed.
    Failed(Error),
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Flies one key: fetches it, lands the flight, and does what is left.
    pub(crate) async fn fly(self: Arc<Self>, leader: Leader<K, V>, mut plan: Plan<V>, load: Loader<V>) {
        let fetched = self.fetch(&leader, &mut plan, load).await;
        if matches!(fetched.after, After::TooLarge(_)) {
            self.remember(leader.key(), MissReason::TooLarge);
        }
        let key = leader.key().clone();
        leader.land(fetched.answer, |key| self.keep_near(key, fetched.keep));
        match fetched.after {
            After::Refresh(load, ahead_of) => {
                let order = RefreshOrder { policy: plan.policy, tags: plan.tags, ahead_of };
                self.refresh(key, order, load).await;
            }
            after => self.clean_up(plan.basis.route, &plan.text, after).await,
        }
    }

    pub(super) async fn clean_up(&self, route: Route, text: &str, after: After<V>) {
        match after {
            After::Nothing | After::Refresh(..) | After::TooLarge(None) => {}
            After::Release(lease) | After::TooLarge(Some(lease)) => self.give_back(route, text, &lease).await,
        }
    }

    pub(crate) async fn give_back(&self, route: Route, text: &str, lease: &Lease) {
        if let Some(shared) = self.shared_by(route)
            && shared.release(text, lease).await.is_err()
        {
            // It runs out by itself.
            self.stats.count(Counter::SharedErrors);
        }
    }

    pub(crate) fn keep_near(&self, key: &K, entry: Option<NearEntry<V>>) {
        let Some(entry) = entry else { return };
        match &self.near {
            Some(near) => near.insert(key.clone(), self.held_longer(key, entry)),
            // Nothing here will say that it is back.
            None => self.gone.forget(key),
        }
    }

    async fn fetch(&self, leader: &Leader<K, V>, plan: &mut Plan<V>, load: Loader<V>) -> Fetched<V> {
        self.offer_spare(leader, plan);
        let right = self.right_to_load(leader, plan).await;
        let blocked = matches!(right, Right::Blocked);
        let (lease, reason, previous) = match right {
            Right::Found(entry) => return self.found(entry, Some(load)),
            Right::Failed(error) => return self.fail_safe(failed(error), plan.spare.as_ref()),
            Right::Unleased(reason) => (None, reason, None),
            Right::Blocked => (None, MissReason::Invalidated, None),
            Right::Leased(reason, previous) => {
                if let Some(previous) = &previous {
                    plan.spare = Some((previous.entry.clone(), Served::Shared));
                    self.offer_spare(leader, plan);
                }
                (Some(plan.lease), reason, previous)
            }
        };
        let near = || plan.spare.as_ref().map(|(entry, _)| Previous::near(entry.clone()));
        let previous = previous.or_else(near).filter(|previous| previous.entry.is_current(&self.coherence));
        let order = Load {
            key: leader.key(),
            text: &plan.text,
            basis: plan.basis,
            tags: &plan.tags,
            policy: &plan.policy,
            lease,
            reason,
            load_us: 0,
        };
        let mut fetched = self.load_and_fill(order, previous, load).await;
        if blocked {
            fetched.keep = None;
        }
        if plan.perhaps_leased && matches!(fetched.after, After::Nothing) {
            // Else all nodes would wait for it to run out.
            fetched.after = After::Release(plan.lease);
        }
        self.fail_safe(fetched, plan.spare.as_ref())
    }

    /// If the source failed, and something stale is still inside its window: serves that, marked as such.
    fn fail_safe(&self, fetched: Fetched<V>, spare: Option<&Spare<V>>) -> Fetched<V> {
        let Fetched { answer: Err(_), .. } = &fetched else { return fetched };
        match spare.and_then(|(spare, served)| self.spare_read(spare, *served)) {
            Some(read) => Fetched { answer: Ok(read), ..fetched },
            None => fetched,
        }
    }

    /// A spare as an answer, if its window is still open and it was not invalidated. Always marked as stale: whatever its
    /// age, it was not good enough to be the answer by itself.
    pub(crate) fn spare_read(&self, spare: &NearEntry<V>, served: Served) -> Option<Read<V>> {
        let now_ms = self.clock.monotonic_ms();
        let open = spare.terms.life.at_age(spare.age_ms(now_ms)) != Freshness::Expired;
        (open && spare.is_current(&self.coherence))
            .then(|| Read { stale: true, ..spare.read(served, now_ms) })
    }

    async fn right_to_load(&self, leader: &Leader<K, V>, plan: &mut Plan<V>) -> Right<V> {
        let Some(shared) = self.shared_by(plan.basis.route) else {
            let refreshed = match plan.mode {
                ReadMode::Cached => self.own_refresh(leader.key(), &plan.policy).await,
                ReadMode::Refresh | ReadMode::Bypass => None,
            };
            return refreshed.unwrap_or(Right::Unleased(plan.reason));
        };
        if !shared.trusts(&plan.text) {
            // Whatever is owed: a write that is pending is newer than all that the source has.
            return match self.still_pending(shared, &plan.text, plan.basis).await {
                Ok(Some(entry)) => Right::Found(entry),
                Ok(None) => Right::Unleased(MissReason::Invalidated),
                Err(_) => self.unleased_by_error(),
            };
        }
        if plan.mode == ReadMode::Refresh {
            match self.still_pending(shared, &plan.text, plan.basis).await {
                Ok(Some(entry)) => return Right::Found(entry),
                Ok(None) => {}
                Err(_) => return self.unleased_by_error(),
            }
            let leased = match self.stand(plan.basis.route, &plan.text).await {
                Ok(basis) => {
                    plan.basis = basis;
                    shared.lease_refresh(&plan.text, &plan.lease).await
                }
                Err(error) => Err(error),
            };
            return match leased {
                Ok(true) => Right::Leased(MissReason::Asked, None),
                Ok(false) => Right::Unleased(MissReason::Asked),
                Err(_) => self.unleased_by_error(),
            };
        }
        self.look_until_decided(shared, leader, plan).await
    }

    /// Looks at the slot until it has a value, or we have its lease, or we have waited long enough for another node.
    async fn look_until_decided(
        &self,
        shared: &Shared,
        leader: &Leader<K, V>,
        plan: &mut Plan<V>,
    ) -> Right<V> {
        let found = match plan.first.take() {
            Some(first) => first,
            None => self.look(shared, plan).await,
        };
        match self.decide(shared, plan, found).await {
            Some(right) => right,
            // Boxed: few flights find another node at it, and every flight has room for this.
            None => Box::pin(self.wait_for_another_node(shared, leader, plan)).await,
        }
    }

    /// Another node is at it: waits to be told that it is done, and looks from time to time in case that nobody tells.
    async fn wait_for_another_node(
        &self,
        shared: &Shared,
        leader: &Leader<K, V>,
        plan: &mut Plan<V>,
    ) -> Right<V> {
        let give_up = Instant::now() + plan.policy.load_deadline;
        self.offer_spare(leader, plan);
        if let Some(right) = self.own_refresh(leader.key(), &plan.policy).await {
            return right;
        }
        let waiting = shared.waiters.join(key_hash(&plan.text));
        plan.waits = true;
        let mut pauses = Pauses::default();
        loop {
            self.offer_spare(leader, plan);
            // Before the look: what is done after it is told.
            let told = waiting.told();
            let found = self.look(shared, plan).await;
            if let Some(right) = self.decide(shared, plan, found).await {
                return right;
            }
            if Instant::now() >= give_up {
                return Right::Unleased(plan.reason);
            }
            pauses.until(told).await;
        }
    }

    /// What a look came to; `None` if another node is at it.
    async fn decide(
        &self,
        shared: &Shared,
        plan: &mut Plan<V>,
        mut found: Result<Lookup>,
    ) -> Option<Right<V>> {
        for _ in 0..SECOND_LOOKS {
            if !matches!(found, Ok(Lookup::Value(_))) || self.coherence.is_current(&plan.basis.stamp) {
                break;
            }
            // Something was heard while we looked. It may be what brought this value: a look that begins now tells.
            found = self.look(shared, plan).await;
        }
        match found {
            Ok(Lookup::Leased) => Some(Right::Leased(plan.reason, None)),
            Ok(Lookup::Value(envelope)) => self.judge(shared, plan, &envelope).await,
            Ok(Lookup::Corrupt) => self.take_over(shared, plan).await,
            Ok(Lookup::Busy) => None,
            Ok(Lookup::Blocked) => Some(Right::Blocked),
            Err(error) => {
                plan.perhaps_leased = error.kind() == ErrorKind::Timeout;
                Some(self.unleased_by_error())
            }
        }
    }

    /// Whether a value that was found can be served; one that is only good as a spare, or not at all, is replaced.
    async fn judge(&self, shared: &Shared, plan: &mut Plan<V>, envelope: &Envelope) -> Option<Right<V>> {
        if !self.coherence.is_after_clear(shared.shard_of(&plan.text), envelope.at) {
            return self.replace(shared, plan, MissReason::Purged, None).await;
        }
        let entry = match self.entry_from(envelope, plan.basis).await {
            Err(_) => return Some(self.unleased_by_error()),
            Ok(None) => return self.take_over(shared, plan).await,
            Ok(Some(entry)) => entry,
        };
        if envelope.is_pending() {
            // Whatever was heard meanwhile: the source has nothing newer.
            return Some(Right::Found(entry));
        }
        if !entry.is_current(&self.coherence) {
            return self.replace(shared, plan, MissReason::Purged, None).await;
        }
        match entry.terms.life.at_age(entry.age_ms(self.clock.monotonic_ms())) {
            Freshness::Fresh | Freshness::Stale => Some(Right::Found(entry)),
            Freshness::Fallback | Freshness::Expired => {
                let previous = Previous { entry, stored: Some(envelope.clone()) };
                self.replace(shared, plan, MissReason::Expired, Some(previous)).await
            }
        }
    }

    /// Something foreign or damaged is in the slot: count it, and replace it.
    async fn take_over(&self, shared: &Shared, plan: &mut Plan<V>) -> Option<Right<V>> {
        self.stats.count(Counter::Corrupt);
        tracing::debug!(cache = %self.name, key = plan.text, "A stored value is foreign or damaged and will be replaced.");
        self.replace(shared, plan, MissReason::Corrupt, None).await
    }

    /// The right to replace what is in the slot, by the lease beside it; `None` if another node has it.
    async fn replace(
        &self,
        shared: &Shared,
        plan: &mut Plan<V>,
        reason: MissReason,
        previous: Option<Previous<V>>,
    ) -> Option<Right<V>> {
        match shared.lease_refresh(&plan.text, &plan.lease).await {
            Ok(true) => Some(Right::Leased(reason, previous)),
            Ok(false) => {
                let spare = previous.map(|previous| (previous.entry, Served::Shared));
                plan.spare = spare.or(plan.spare.take());
                None
            }
            Err(_) => Some(self.unleased_by_error()),
        }
    }

    pub(super) fn unleased_by_error(&self) -> Right<V> {
        self.stats.count(Counter::SharedErrors);
        Right::Unleased(MissReason::Error)
    }

    pub(super) fn found(&self, entry: NearEntry<V>, load: Option<Loader<V>>) -> Fetched<V> {
        let read = entry.read(Served::Shared, self.clock.monotonic_ms());
        let ahead_of = self.due_ahead(&entry);
        let after = match load {
            Some(load) if read.stale || ahead_of.is_some() => After::Refresh(load, ahead_of),
            _ => After::Nothing,
        };
        Fetched { answer: Ok(read), keep: Some(entry), after }
    }

    /// Loads, and stores the value under the lease, if there is one. The loader may find that the previous value stands.
    pub(super) async fn load_and_fill(
        &self,
        mut order: Load<'_, K>,
        previous: Option<Previous<V>>,
        load: Loader<V>,
    ) -> Fetched<V> {
        let begun_us = self.clock.stopwatch_us();
        let shown = previous.as_ref().and_then(|previous| previous.entry.value.clone());
        let loading = self.load(order.policy, || self.begin_load(load, order.key, order.basis.route, shown));
        let value = match (self.shared_by(order.basis.route), &order.lease) {
            (Some(shared), Some(lease)) => while_renewing(shared, &[order.text], lease, loading).await,
            _ => loading.await,
        };
        let load_us = self.clock.stopwatch_us().saturating_sub(begun_us);
        order.load_us = self.load_time_to_keep(order.key, load_us);
        match value {
            Ok(Loaded::Value(value)) => self.store(order, Some(Arc::new(value))).await,
            Ok(Loaded::Absent) => self.store(order, None).await,
            Ok(Loaded::NotModified) => self.confirm(order, previous).await,
            Err(error) => {
                Fetched { after: order.lease.map_or(After::Nothing, After::Release), ..failed(error) }
            }
        }
    }

    /// One call of the source: its turn among the others and its work, under one deadline.
    pub(crate) async fn load<T>(
        &self,
        policy: &Policy,
        load: impl FnOnce() -> LoadFuture<T> + Send,
    ) -> Result<T> {
        let work = async {
            let _turn = self.loads.acquire().await.expect("the semaphore is never closed");
            self.stats.count(Counter::Loads);
            let loading = AssertUnwindSafe(async move { load().await });
            loading
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Source, "the loader panicked")))
        };
        let begun_us = self.clock.stopwatch_us();
        let result = timeout(policy.load_deadline, work).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the source did not answer before the load deadline"))
        });
        let took_us = self.clock.stopwatch_us().saturating_sub(begun_us);
        self.stats.count_many(Counter::LoadMicros, took_us as usize);
        if result.is_err() {
            self.stats.count(Counter::LoadErrors);
        }
        result
    }

    /// Fills Redis, and decides what the near tier may keep.
    pub(crate) async fn store(&self, order: Load<'_, K>, value: Option<Arc<V>>) -> Fetched<V> {
        let life = self.lifetime(order.policy, value.as_deref(), order.load_us);
        let answer = Ok(loaded(value.clone(), life, order.reason));
        let Some(life) = life else {
            let after = order.lease.map_or(After::Nothing, After::Release);
            return Fetched { answer, keep: None, after };
        };
        match self.fill(&order, value, life).await {
            Ok((keep, unused)) => {
                Fetched { answer, keep, after: unused.map_or(After::Nothing, After::Release) }
            }
            Err(error) => {
                if error.kind() != ErrorKind::TooLarge {
                    tracing::warn!(cache = %self.name, key = order.text, %error, "A value cannot be cached.");
                }
                let after = match order.lease {
                    lease if error.kind() == ErrorKind::TooLarge => After::TooLarge(lease),
                    None => After::Nothing,
                    Some(lease) => After::Release(lease),
                };
                Fetched { answer, keep: None, after }
            }
        }
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
        tokio::select! {
            biased;
            loaded = &mut loading => return loaded,
            () = shared.renew_many(texts, lease) => {}
        }
    }
}

pub(crate) fn failed<V>(error: Error) -> Fetched<V> {
    Fetched { answer: Err(error), keep: None, after: After::Nothing }
}
