//! Write-around: write, and then invalidate.

use std::{fmt, future::Future, hash::Hash, sync::Arc};

use crate::{
    Cache, ErrorKind, Result,
    cache::{Token, inner::Inner, invalidate::Owed, stats::Counter, write::guard::Forgetting},
};

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Runs a write to the database and then invalidates the keys that it touches, in one round trip for each shard, unless
    /// the database refused it. Returns what `write` returned, and what the invalidation after it did.
    ///
    /// # Errors
    /// What `write` returned.
    ///
    /// # Cancel safety
    /// If the future is dropped, `write` is dropped where it stands, and the keys are invalidated behind.
    pub(crate) async fn write_around<T>(
        &self,
        keys: &[&K],
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)> {
        self.inner.write_around(keys, write).await
    }

    /// The same for a write that touches, or may touch, all that is cached: clears the cache.
    ///
    /// # Errors
    /// What `write` returned.
    ///
    /// # Cancel safety
    /// If the future is dropped, `write` is dropped where it stands, and the cache is cleared behind.
    pub(crate) async fn clear_around<T>(
        &self,
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)> {
        self.inner.clear_around(write).await
    }

    /// Of a write that goes on without its caller: from here on nothing from before it is served on this node, though the write
    /// itself sees to that only at its end.
    pub(crate) fn leave_to_its_end(&self, keys: &[&K]) {
        self.inner.forget_near(keys);
        // A key that Redis cannot have was refused before the write began.
        if let Ok(debts) = self.inner.debts_of(keys) {
            drop(Owed { inner: &self.inner, debts });
        }
    }

    /// The same for all that is cached.
    pub(crate) fn leave_all_to_its_end(&self) {
        drop(Owed { inner: &self.inner, debts: self.inner.debts_of_all() });
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    async fn write_around<T>(
        self: &Arc<Self>,
        keys: &[&K],
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)> {
        if self.shared.is_none() {
            let mut forgetting = Forgetting { inner: self, keys };
            let written = write.await;
            if may_be_done(&written) {
                self.stats.count_many(Counter::Invalidated, keys.len());
            } else {
                forgetting.keys = &[];
            }
            return Ok((written?, Ok(Vec::new())));
        }
        // The write may be done before it says so: from here on the keys are owed, also if the caller goes away.
        let mut owed = Owed { inner: self, debts: self.debts_of(keys)? };
        let written = write.await;
        // Nothing was touched, or the invalidation owes them itself from its first step on.
        owed.debts.clear();
        drop(owed);
        if !may_be_done(&written) {
            return Ok((written?, Ok(Vec::new())));
        }
        let invalidated = self.invalidate(keys).await;
        Ok((written?, invalidated))
    }

    async fn clear_around<T>(
        self: &Arc<Self>,
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)> {
        let mut owed = Owed { inner: self, debts: self.debts_of_all() };
        let written = write.await;
        owed.debts.clear();
        drop(owed);
        if !may_be_done(&written) {
            return Ok((written?, Ok(Vec::new())));
        }
        let cleared = self.clear().await;
        Ok((written?, cleared))
    }
}

/// Whether a write may have changed something: it did, or nobody knows. What the database refuses for a reason of the write's own
/// it has surely left alone, and what was never sent to it.
fn may_be_done<T>(written: &Result<T>) -> bool {
    use ErrorKind::{Config, Conflict, Full, Invalid, TooLarge};
    let Err(error) = written else { return true };
    let is_refused = matches!(error.kind(), Invalid | Conflict | Config | TooLarge | Full);
    !is_refused && !error.is_unsent()
}
