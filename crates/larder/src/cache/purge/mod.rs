//! Purging by pattern, and softly by tag: every key whose text matches a glob, found by bounded steps on each primary, or in this
//! process if that is all there is.

mod glob;
mod near;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::sleep;

#[cfg(any(test, fuzzing))]
pub(crate) use self::glob::matches;
use self::shared::Ground;
use crate::{
    Error, ErrorKind, Result,
    cache::{
        Cache, Token,
        event::Change,
        inner::Inner,
        shared::{Action, Shared},
        stats::Counter,
        tag::tag_hash,
    },
};

/// The most bytes that the pattern of a purge may have.
pub const MAX_PATTERN_BYTES: usize = 512;
/// How often shards that were on the move are gone through, and the first and the longest pause before that is done again: some
/// four seconds in all.
const ROUNDS: usize = 20;
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// What is to be found, and what becomes of it.
#[derive(Clone, Copy)]
pub(crate) struct Purge<'a> {
    pattern: &'a str,
    /// Only values with one of these tags, if there are any.
    tags: &'a [u64],
    manner: Manner,
}

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It goes.
    Hard,
    /// It is made stale where it lies.
    Soft,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Destroys every entry whose key matches a glob: `tenant:42:*`. Looks through the keys of each primary in bounded
    /// steps, so it costs with the number of keys in Redis; a tag costs nothing of the kind. No load that began before
    /// fills a matching key after. Shards that a cluster moves meanwhile are looked through again, where they are then.
    /// With [`Consistency::Strict`](crate::cache::Consistency) it returns when no node serves a copy from before.
    ///
    /// Returns how many keys had something destroyed, be it the lease of a load under way. Without Redis these are the copies of this
    /// process, and the key of each of them is looked at.
    ///
    /// The glob is as in Redis: `*`, `?`, `[a-z]`, `[^a]`, and `\\` before what is to be taken by the letter.
    ///
    /// # Examples
    /// ```
    /// # async fn example() -> larder::Result<()> {
    /// let carts = larder::Cache::<String, u64>::builder("carts").build()?;
    /// carts.get_with("tenant:42:7", || async { Ok(Some(1)) }).await?;
    /// assert_eq!(carts.invalidate_pattern("tenant:42:*").await?, 1);
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if Redis does not answer, or a cluster goes on moving shards for
    /// seconds: some may have been destroyed, call it again. `ErrorKind::Invalid` for a pattern that is empty or longer than
    /// 512 bytes.
    /// # Cancel safety
    /// What was not reached yet stays when the future is dropped.
    pub async fn invalidate_pattern(&self, pattern: &str) -> Result<u64> {
        self.inner.purge(Purge { pattern, tags: &[], manner: Manner::Hard }).await
    }

    /// As [`invalidate_pattern`](Self::invalidate_pattern), but makes what it finds stale where it lies, as
    /// [`expire`](Self::expire) does with single keys: readers have the stale value while one of them has it loaded anew. `"*"` makes
    /// everything stale. No load that began before makes a matching key fresh again.
    ///
    /// Returns how many keys had an entry that is stale by this purge: one that an earlier purge made stale does not count again.
    ///
    /// Cost: what `invalidate_pattern` costs, and a reading of each value that is found.
    ///
    /// # Errors
    /// As [`invalidate_pattern`](Self::invalidate_pattern), and `ErrorKind::Invalid` at `policy` if nothing is served past its
    /// time.
    /// # Cancel safety
    /// What was not reached yet stays when the future is dropped.
    pub async fn expire_pattern(&self, pattern: &str) -> Result<u64> {
        self.inner.purge(Purge { pattern, tags: &[], manner: Manner::Soft }).await
    }

    /// Makes every entry with one of these tags stale where it lies, as [`expire`](Self::expire) does with single keys, and returns
    /// how many keys that were, as [`expire_pattern`](Self::expire_pattern) counts them. No load that began before makes one of them
    /// fresh again.
    ///
    /// Unlike [`invalidate_tag`](Self::invalidate_tag) it has to find the entries: it looks through all keys, as
    /// [`expire_pattern`](Self::expire_pattern) does, and reads the tags of each. Every node forgets its near copies for it, the
    /// others of the cache too. For tags that are purged often, `invalidate_tag` is the one.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # async fn example() -> larder::Result<()> {
    /// let policy = larder::Policy::ttl(Duration::from_secs(60)).stale_while_revalidate(Duration::from_secs(60));
    /// let teas = larder::Cache::<u64, String>::builder("teas").policy(policy).tags(|_, _| vec!["tea".into()]).build()?;
    /// teas.get_with(&7, || async { Ok(Some("green".to_owned())) }).await?;
    /// assert_eq!(teas.expire_tags(&["tea"]).await?, 1);
    /// // The reader does not wait for the load behind it.
    /// let tea = teas.get_with(&7, || async { Ok(Some("black".to_owned())) }).await?;
    /// assert_eq!(tea.unwrap().as_str(), "green");
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`expire_pattern`](Self::expire_pattern). Without tags nothing is done.
    /// # Cancel safety
    /// What was not reached yet stays when the future is dropped.
    pub async fn expire_tags(&self, tags: &[&str]) -> Result<u64> {
        let tags: Vec<u64> = tags.iter().map(|tag| tag_hash(tag)).collect();
        match tags.is_empty() {
            true => Ok(0),
            false => self.inner.purge(Purge { pattern: "*", tags: &tags, manner: Manner::Soft }).await,
        }
    }

    /// Refuses what a purge would be refused for, for those who have something to do before it.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` at `pattern` or `policy`, as [`expire_pattern`](Self::expire_pattern) says.
    pub(crate) fn check_purge(&self, pattern: &str, manner: Manner) -> Result<()> {
        self.inner.check_purge(pattern, manner)
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// First every fill that began before is refused, and every near copy forgotten; then the matching keys are destroyed, or
    /// made stale.
    /// What is filled meanwhile comes from loads that began after. In the end every near copy is forgotten again: one may
    /// have been made of a value that was evicted before it was found.
    async fn purge(self: &Arc<Self>, purge: Purge<'_>) -> Result<u64> {
        let Purge { pattern, tags, manner } = purge;
        self.check_purge(pattern, manner)?;
        let purged = match &self.shared {
            None if !tags.is_empty() => self.expire_near_tagged(tags),
            None => self.purge_near(pattern, manner),
            Some(shared) => {
                self.refuse_fills(shared).await?;
                let purged = self.purge_shards(shared, purge).await?;
                let forgotten = self.refuse_fills(shared).await?;
                self.await_all_if_strict(shared, &forgotten).await?;
                purged
            }
        };
        self.stats.count_many(Counter::Invalidated, purged as usize);
        Ok(purged)
    }

    fn check_purge(&self, pattern: &str, manner: Manner) -> Result<()> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
            return Err(Error::invalid("pattern", format!("must have 1 to {MAX_PATTERN_BYTES} bytes")));
        }
        match manner {
            Manner::Hard => Ok(()),
            Manner::Soft => self.require_stale_windows(),
        }
    }

    async fn refuse_fills(&self, shared: &Shared) -> Result<Vec<Token>> {
        let shards = 0..self.coherence.shards();
        let refused = shards.map(|shard| self.act(shared, shard, Action::RefuseFills, Change::Flush));
        join_all(refused).await.into_iter().collect()
    }

    /// Goes through all shards, and again through those that were on the move meanwhile.
    async fn purge_shards(&self, shared: &Shared, purge: Purge<'_>) -> Result<u64> {
        let mut left: BTreeSet<u16> = (0..self.coherence.shards()).collect();
        let (mut purged, mut pause) = (0, PAUSE.0);
        for _ in 0..ROUNDS {
            for ground in shared.grounds(&left)? {
                let (found, seen) = self.purge_ground(shared, ground, &left, purge).await?;
                purged += found;
                left.retain(|shard| !seen.contains(shard));
            }
            if left.is_empty() {
                return Ok(purged);
            }
            shared.redis().doubt_layout();
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        let message = format!(
            "{} of {} shards were on the move for so long that keys may have been missed: purge again",
            left.len(),
            self.coherence.shards()
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Goes through one server. Returns how many matching keys of the shards that are left were purged, and of which shards it
    /// had every key all the while.
    async fn purge_ground(
        &self,
        shared: &Shared,
        mut ground: Ground,
        left: &BTreeSet<u16>,
        purge: Purge<'_>,
    ) -> Result<(u64, BTreeSet<u16>)> {
        let mut purged = 0;
        let mut seen: BTreeSet<u16> = ground.shards.iter().copied().collect();
        for kind in shared.kinds() {
            loop {
                let Some(found) = shared.scan(&mut ground, kind, purge.pattern).await? else {
                    return Ok((purged, BTreeSet::new()));
                };
                found.missed.iter().for_each(|shard| {
                    seen.remove(shard);
                });
                purged += self.purge_found(shared, found.texts, left, purge).await?;
                if found.is_last {
                    break;
                }
            }
        }
        Ok((purged, seen))
    }

    async fn purge_found(
        &self,
        shared: &Shared,
        texts: BTreeSet<String>,
        left: &BTreeSet<u16>,
        purge: Purge<'_>,
    ) -> Result<u64> {
        let mut by_shard = BTreeMap::<u16, Vec<String>>::new();
        for text in texts {
            let shards: Vec<u16> = shared.shards_of(&text).collect();
            if !shards.iter().any(|shard| left.contains(shard)) {
                continue;
            }
            for shard in shards {
                by_shard.entry(shard).or_default().push(text.clone());
            }
        }
        if !purge.tags.is_empty() {
            shared.retain_tagged(&mut by_shard, purge.tags).await?;
        }
        match purge.manner {
            Manner::Soft => {
                // What is found stays, and may be found once more, as another kind or in another shard: it counts the first time.
                let softened = self.expire_shared(shared, &by_shard).await?;
                let texts: BTreeSet<&str> =
                    softened.iter().flat_map(|some| some.texts.iter().copied()).collect();
                Ok(texts.len() as u64)
            }
            Manner::Hard => {
                self.unlink_shared(shared, &by_shard).await?;
                Ok(by_shard.values().flatten().collect::<BTreeSet<_>>().len() as u64)
            }
        }
    }
}
