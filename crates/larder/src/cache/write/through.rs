//! Write-through: block, write, and leave the written value in the cache.

use std::{fmt, future::Future, hash::Hash, sync::Arc};

use futures_util::future::join_all;

use crate::{
    Cache, ErrorKind, Result,
    cache::{
        MissReason, Token,
        coherence::Basis,
        entry::{Envelope, Lifetime},
        inner::Inner,
        invalidate::Owed,
        shared::Shared,
        stats::Counter,
        tag::Tag,
        write::{
            Block,
            guard::{ByShard, Forgetting, of_write},
            shared::Kept,
        },
    },
};

/// What a write made of a key: `None` if it is gone.
pub(crate) type Written<V> = Option<Arc<V>>;

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Runs a write to the database and leaves what it wrote in the cache (write-through), whatever mode the cache's
    /// [`put`](Self::put) has. `write` returns what the database has now, `None` if the key is gone.
    ///
    /// First the cached value goes and fills are blocked, then `write` runs, then one script invalidates the key on all nodes
    /// and stores the new value, if nobody else wrote or invalidated the key meanwhile. If somebody did, or the write failed and
    /// so perhaps was done, nothing is stored and the next read loads. If this process dies in between, nothing stale is left.
    /// Readers meanwhile are answered by the source. If Redis is away the write runs all the same, and nothing is stored.
    ///
    /// Returns a token to read at least this with, as [`invalidate`](Self::invalidate) does. Cost: two round trips; one more if the
    /// value has a tag that is new to this node, or was not stored and has tags.
    ///
    /// ```
    /// # async fn run() -> larder::Result<()> {
    /// let names: larder::Cache<String, String> = larder::Cache::builder("names").build()?;
    /// # async fn rename(id: u32, name: &str) -> larder::Result<Option<String>> { Ok(Some(name.to_uppercase())) }
    /// // What the database made of it, not what it was sent.
    /// names.put_with(&"42".to_owned(), rename(42, "Ada")).await?;
    /// let name = names.get_with("42", || async { panic!("it is there") }).await?;
    /// assert_eq!(name.as_deref().map(String::as_str), Some("ADA"));
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// What `write` returned; or as [`invalidate`](Self::invalidate), and then the write was done, unless it is the key that is
    /// `Invalid`. `ErrorKind::Config` for a cache that writes behind: its readers would not see this write before those that
    /// are pending.
    ///
    /// # Cancel safety
    /// If the future is dropped, `write` is dropped where it stands, and the key is invalidated behind.
    pub async fn put_with(
        &self,
        key: &K,
        write: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<Token>> {
        if self.inner.behind.is_some() {
            let message = "a cache that writes behind cannot write through as well";
            return Err(crate::Error::new(ErrorKind::Config, message).context(&self.inner.name));
        }
        let write = async { Ok(((), Some(write.await?.map(Arc::new)))) };
        self.inner.write_through(key, write).await?.1
    }

    /// [`put_with`](Self::put_with) for a write that has an answer of its own, and that says whether its value may be left:
    /// `None` leaves nothing, as after a write around the cache. What Redis said of the end comes beside the answer.
    pub(crate) async fn write_through<T>(
        &self,
        key: &K,
        write: impl Future<Output = Result<(T, Option<Written<V>>)>>,
    ) -> Result<(T, Result<Option<Token>>)> {
        self.inner.write_through(key, write).await
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A write (`None` removes) by the sink.
    pub(crate) async fn put_through(self: &Arc<Self>, key: &K, value: Option<&V>) -> Result<()> {
        let sink = self.sink()?;
        let write = async {
            match value {
                Some(value) => sink.put(key, value).await?,
                None => sink.remove(key).await?,
            }
            Ok(())
        };
        match value.map(|value| self.copied(value)) {
            Some(None) => {
                // There is nothing that could be left; the rest is the same.
                let (_, invalidated) = self.guarded_write(&[key], write).await?;
                invalidated.map(drop)
            }
            copy => {
                let write = async { write.await.map(|()| ((), Some(copy.flatten()))) };
                self.write_through(key, write).await?.1.map(drop)
            }
        }
    }

    /// The value as every other node would read it; `None` if it has no form that it could be read from.
    fn copied(&self, value: &V) -> Option<Arc<V>> {
        let codec = self.codec.as_ref()?;
        codec.decode(&codec.encode(value).ok()?).ok().map(Arc::new)
    }

    async fn write_through<T>(
        self: &Arc<Self>,
        key: &K,
        write: impl Future<Output = Result<(T, Option<Written<V>>)>>,
    ) -> Result<(T, Result<Option<Token>>)> {
        let text = key.to_string();
        self.forget_near(&[key]);
        let debts = self.debts_of(&[key])?;
        self.stats.count(Counter::Invalidated);
        let Some(shared) = &self.shared else {
            let mut forgetting = Forgetting { inner: self, keys: &[key] };
            let basis = self.coherence.basis(&text);
            let (answer, left) = write.await?;
            if let Some(value) = left {
                forgetting.keys = &[];
                let fits = self.measured(value.as_deref(), &self.policy).is_ok();
                if !fits {
                    self.remember(key, MissReason::TooLarge);
                }
                let life = self.lifetime(&self.policy, value.as_deref(), 0).filter(|_| fits);
                let tags = match self.tags_of(key, &[], value.as_deref()) {
                    Ok(hashes) => self.tags_before(basis, &hashes).await,
                    Err(_) => None,
                };
                self.keep_written(key, value, basis, life.zip(tags));
            }
            return Ok((answer, Ok(None)));
        };
        let home = shared.home_of(&text);
        let shards: ByShard = shared.shards_of(&text).map(|shard| (shard, vec![text.clone()])).collect();
        // Whatever happens from here on, also if the caller goes away: the key is invalidated in the end.
        let block = Block::random();
        let mut owed = Owed { inner: self, debts: of_write(debts, &block) };
        let blocked = self.block(shared, &shards, &block).await;
        self.forget_near(&[key]);
        // A block that was not acknowledged may come into force when somebody else has written: it is good for nothing.
        let at = blocked.ok().and_then(|tokens| tokens.into_iter().find(|token| token.shard() == home));
        let at = at.map(|token| token.position());
        let basis = at.map(|at| Basis { at, ..self.coherence.basis(&text) });
        let written = self.while_blocking(shared, &shards, &block, write).await;
        // Also when the write failed: perhaps it was done, and the block must go.
        let value = written.as_ref().ok().and_then(|(_, left)| left.clone());
        let ended = self.end_of_write(shared, &End { key, text, block }, value, basis).await;
        if ended.is_ok() {
            owed.debts.clear();
        }
        drop(owed);
        let tokens = self.acknowledged_by_all(shared, ended).await;
        Ok((written?.0, tokens.map(|tokens| self.home_tokens(tokens, &[key]).pop())))
    }

    /// Takes the block off, leaving the value if there is one, and keeps this node's own copy of what was left.
    async fn end_of_write(
        &self,
        shared: &Shared,
        end: &End<'_, K>,
        value: Option<Written<V>>,
        basis: Option<Basis>,
    ) -> Result<Vec<Token>> {
        let Some((value, basis)) = value.zip(basis) else { return self.end_without(shared, end).await };
        let Some(envelope) = self.envelope_of(end, value.as_deref(), basis).await else {
            return self.end_without(shared, end).await;
        };
        let kept = Kept { envelope: &envelope, compress_above: self.policy.compress_above_bytes };
        let ended = self.finish_everywhere(shared, end, Some(&kept)).await;
        let is_left = ended.as_ref().is_ok_and(|(_, is_left)| *is_left);
        self.stats.count(if is_left { Counter::FillsAccepted } else { Counter::FillsRefused });
        if is_left {
            self.keep_written(end.key, value, basis, Some((envelope.life, envelope.tags)));
        } else {
            // Even if the outcome is unknown: a reader in between may have fetched the old value.
            self.forget_near(&[end.key]);
            if ended.is_ok() {
                // Perhaps the mark of a tag was lost and made anew: a node that only writes learns of it here alone.
                self.ask_again(self.coherence.shard_of_stamp(&basis.stamp), &envelope.tags).await;
            }
        }
        match ended {
            // No room for the value; the rest needs none.
            Err(error) if error.kind() == ErrorKind::Full => self.end_without(shared, end).await,
            ended => ended.map(|(tokens, _)| tokens),
        }
    }

    async fn end_without(&self, shared: &Shared, end: &End<'_, K>) -> Result<Vec<Token>> {
        let ended = self.finish_everywhere(shared, end, None).await;
        self.forget_near(&[end.key]);
        ended.map(|(tokens, _)| tokens)
    }

    /// Takes the block off in all shards of the key, at the same time. The value is left in its own.
    async fn finish_everywhere(
        &self,
        shared: &Shared,
        end: &End<'_, K>,
        kept: Option<&Kept<'_>>,
    ) -> Result<(Vec<Token>, bool)> {
        let home = shared.home_of(&end.text);
        let ends = shared.shards_of(&end.text).map(|shard| {
            let kept = kept.filter(|_| shard == home);
            self.finish(shared, shard, end.texts(), end.block.token(), kept)
        });
        let ended: Vec<(Token, bool)> = join_all(ends).await.into_iter().collect::<Result<_>>()?;
        let is_left = ended.iter().any(|(_, is_left)| *is_left);
        Ok((ended.into_iter().map(|(token, _)| token).collect(), is_left))
    }

    /// What a write leaves in Redis; `None` if nothing can be left. One round trip if it has tags that are new to this node.
    async fn envelope_of(&self, end: &End<'_, K>, value: Option<&V>, basis: Basis) -> Option<Envelope> {
        let life = self.lifetime(&self.policy, value, 0)?;
        let parts = self
            .payload_of(value, &self.policy)
            .and_then(|payload| Ok((payload, self.tags_of(end.key, &[], value)?)));
        match parts {
            Ok((payload, hashes)) => Some(Envelope {
                payload,
                codec: self.codec.as_ref().map_or(0, |codec| codec.id()),
                created_unix_ms: self.clock.unix_ms(),
                life,
                at: basis.at,
                tags: self.tags_before(basis, &hashes).await?,
            }),
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.remember(end.key, MissReason::TooLarge);
                None
            }
            Err(error) => {
                tracing::warn!(cache = %self.name, key = %end.text, %error, "A value that was written cannot be cached.");
                None
            }
        }
    }

    /// Makes this node forget what it had before the write, and keep what was written, unless it has heard of something else
    /// since `basis`.
    fn keep_written(&self, key: &K, value: Written<V>, basis: Basis, kept: Option<(Lifetime, Vec<Tag>)>) {
        let entry = kept.map(|(life, tags)| self.entry_of(value, life, 0, basis, &tags));
        // One step, so that nothing can be heard in between. What others have loaded up to here is worthless by it.
        let moved = entry.and_then(|entry| Some((self.coherence.forget_since(&basis.stamp)?, entry)));
        match (moved, &self.near) {
            (Some((stamp, mut entry)), Some(near)) => {
                entry.terms.stamp = stamp;
                self.flights.ground(key, || near.insert(key.clone(), entry));
            }
            _ => self.forget_near(&[key]),
        }
    }
}

/// The key of a write-through and its block.
struct End<'a, K> {
    key: &'a K,
    text: String,
    block: Block,
}

impl<K> End<'_, K> {
    fn texts(&self) -> &[String] {
        std::slice::from_ref(&self.text)
    }
}
