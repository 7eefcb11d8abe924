//! Guarded writes: block, write, invalidate.

use std::{borrow::Borrow, collections::BTreeMap, fmt, future::Future, hash::Hash, sync::Arc};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    Result,
    cache::{
        Token,
        event::Event,
        inner::Inner,
        invalidate::{Owed, keys_change},
        shared::{Action, Shared},
        stats::Counter,
        unsent::{Debt, What},
        write::{Block, HOLD, shared::Kept},
    },
};

/// The keys of a write, by their shards.
pub(super) type ByShard = BTreeMap<u16, Vec<String>>;

/// Makes this node forget the keys of a write when it ends, also if its caller goes away.
pub(super) struct Forgetting<'a, K, V, Q>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + Borrow<Q> + 'static,
    V: Send + Sync + 'static,
    Q: Hash + Eq + fmt::Display + ?Sized,
{
    pub(super) inner: &'a Inner<K, V>,
    pub(super) keys: &'a [&'a Q],
}

impl<K, V, Q> Drop for Forgetting<'_, K, V, Q>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + Borrow<Q> + 'static,
    V: Send + Sync + 'static,
    Q: Hash + Eq + fmt::Display + ?Sized,
{
    fn drop(&mut self) {
        self.inner.forget_near(self.keys);
    }
}

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
        self.forget_near(keys);
        let debts = self.debts_of(keys)?;
        self.stats.count_many(Counter::Invalidated, keys.len());
        let Some(shared) = &self.shared else {
            let _forgetting = Forgetting { inner: self, keys };
            return Ok((write.await?, Ok(Vec::new())));
        };
        let shards = by_shard(shared, keys);
        // Whatever happens from here on, also if the caller goes away: the keys are invalidated in the end.
        let block = Block::random();
        let mut owed = Owed { inner: self, debts: of_write(debts, &block) };
        // If Redis is away the write goes on: what it could not block, it will be told afterwards, and until then this
        // node does not believe it.
        let _ = self.block(shared, &shards, &block).await;
        self.forget_near(keys);
        let written = self.while_blocking(shared, &shards, &block, write).await;
        // Also when the write failed: perhaps it was done, and the block must go.
        let ends =
            shards.iter().map(|(shard, texts)| self.finish(shared, *shard, texts, block.token(), None));
        let ended: Result<Vec<(Token, bool)>> = join_all(ends).await.into_iter().collect();
        if ended.is_ok() {
            owed.debts.clear();
        }
        drop(owed);
        // Again: a reader in between may have fetched the old value.
        self.forget_near(keys);
        let tokens = ended.map(|ended| ended.into_iter().map(|(token, _)| token).collect());
        let invalidated = self.acknowledged_by_all(shared, tokens).await;
        let invalidated = invalidated.map(|tokens| self.home_tokens(tokens, keys));
        written.map(|written| (written, invalidated))
    }

    pub(super) async fn block(&self, shared: &Shared, shards: &ByShard, block: &Block) -> Result<Vec<Token>> {
        let blocks = shards
            .iter()
            .map(|(shard, texts)| self.act(shared, *shard, Action::Block(texts, block), keys_change(texts)));
        join_all(blocks).await.into_iter().collect()
    }

    pub(super) async fn while_blocking<T>(
        &self,
        shared: &Shared,
        shards: &ByShard,
        block: &Block,
        write: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(write);
        let renewed = block.renewed();
        loop {
            if let Ok(written) = timeout(HOLD / 3, &mut write).await {
                return written;
            }
            tokio::select! {
                biased;
                written = &mut write => return written,
                _ = self.block(shared, shards, &renewed) => {}
            }
        }
    }

    /// Takes the writers with these tokens out of the blocks of keys of one shard and invalidates the keys, here and in Redis. Returns
    /// whether the value was left.
    pub(crate) async fn finish(
        &self,
        shared: &Shared,
        shard: u16,
        texts: &[String],
        tokens: &[u8],
        kept: Option<&Kept<'_>>,
    ) -> Result<(Token, bool)> {
        let change = keys_change(texts);
        let event = Event { node: self.node, change: change.clone() }.encode();
        let (mut at, mut is_left) = shared.finish(shard, texts, tokens, &event, kept).await?;
        if let Some(follower) = &self.follower
            && follower.recheck(shard).await?
        {
            // Another server may know nothing of the block, nor of what happened under it.
            (at, is_left) = shared.finish(shard, texts, tokens, &event, None).await?;
        }
        self.note_acknowledged(shard, at, Action::Unlink(texts).debts(shard));
        if !is_left {
            self.forget_fetched(texts);
        }
        self.has_taken(shard, at, &change).await;
        Ok((Token::new(self.name_hash(), shard, at), is_left))
    }
}

/// What is owed of the keys of a write, until each shard has acknowledged its end.
pub(super) fn of_write(debts: Vec<Debt>, block: &Block) -> Vec<Debt> {
    let of_write = |debt| match debt {
        Debt { shard, what: What::Key(text) } => Debt::write(shard, &text, *block.token()),
        other => other,
    };
    debts.into_iter().map(of_write).collect()
}

fn by_shard<Q: fmt::Display + ?Sized>(shared: &Shared, keys: &[&Q]) -> ByShard {
    let mut shards = ByShard::new();
    for key in keys {
        let text = key.to_string();
        for shard in shared.shards_of(&text) {
            shards.entry(shard).or_default().push(text.clone());
        }
    }
    shards
}
