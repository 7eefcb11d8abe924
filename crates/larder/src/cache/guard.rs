//! Guarded writes: nothing can be filled while the database is being written, so a crash in between leaves nothing stale.

use std::{
    borrow::Borrow, collections::BTreeMap, fmt, future::Future, hash::Hash, sync::Arc, time::Duration,
};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    Result,
    cache::{
        Token,
        inner::Inner,
        invalidate::{Owed, keys_change},
        shared::{Action, Shared},
        unsent::Debt,
    },
};

/// How long fills stay blocked if the writer dies. Prolonged while it lives.
const BLOCK: Duration = Duration::from_secs(10);

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) async fn guarded_write<Q, T>(
        self: &Arc<Self>,
        keys: &[&Q],
        write: impl Future<Output = Result<T>>,
    ) -> Result<(T, Result<Vec<Token>>)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + fmt::Display + ?Sized,
    {
        let Some(shared) = &self.shared else {
            let written = write.await;
            let invalidated = self.invalidate(keys).await;
            return written.map(|written| (written, invalidated));
        };
        self.forget_near(keys);
        let mut shards: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for key in keys {
            let text = key.to_string();
            shards.entry(shared.shard_of(&text)).or_default().push(text);
        }
        // Whatever happens from here on, also if the caller goes away: the keys are invalidated in the end.
        let debts = shards.values().flatten().cloned().map(Debt::Key).collect();
        let mut owed = Owed { inner: self, debts };
        // If Redis is away the write goes on: what it could not block, it will be told afterwards, and until then this
        // node does not believe it.
        let _ = self.block(shared, &shards).await;
        self.forget_near(keys);
        let written = self.while_blocking(shared, &shards, write).await;
        // Also when the write failed: perhaps it was done, and the block must go.
        owed.debts.clear();
        let invalidated = self.invalidate(keys).await;
        written.map(|written| (written, invalidated))
    }

    async fn block(&self, shared: &Shared, shards: &BTreeMap<u16, Vec<String>>) -> Result<()> {
        let blocks = shards
            .iter()
            .map(|(shard, texts)| self.act(shared, *shard, Action::Block(texts, BLOCK), keys_change(texts)));
        join_all(blocks).await.into_iter().try_for_each(|blocked| blocked.map(drop))
    }

    async fn while_blocking<T>(
        &self,
        shared: &Shared,
        shards: &BTreeMap<u16, Vec<String>>,
        write: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(write);
        loop {
            if let Ok(written) = timeout(BLOCK / 3, &mut write).await {
                return written;
            }
            tokio::select! {
                written = &mut write => return written,
                _ = self.block(shared, shards) => {}
            }
        }
    }
}
