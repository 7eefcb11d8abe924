//! What this node has to ask Redis about tags: their marks, when a value has tags that are new here.

use std::{fmt, hash::Hash, sync::Arc};

use crate::{
    Result,
    cache::{
        coherence::Basis,
        entry::Envelope,
        inner::Inner,
        stats::Counter,
        tag::{Tag, TagCell, TagStamp},
    },
};

/// How many tags one script looks at.
const TAGS_ASKED: usize = 512;

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// These tags with the tokens that they had when a load with this basis began; `None` if Redis cannot be asked. One round trip if
    /// any is new to this node (one for each [`TAGS_ASKED`] of them).
    pub(crate) async fn tags_before(&self, basis: Basis, hashes: &[u64]) -> Option<Vec<Tag>> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        self.counted(&self.learn_tags(shard, hashes).await).then(|| self.tokens(basis, hashes))
    }

    /// [`tags_before`](Self::tags_before) without asking anybody; `None` if one of them is not known yet.
    pub(crate) fn tags_at_hand(&self, basis: Basis, hashes: &[u64]) -> Option<Vec<Tag>> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        let are_known = hashes.iter().all(|hash| self.coherence.tag(shard, *hash).is_some());
        are_known.then(|| self.tokens(basis, hashes))
    }

    fn tokens(&self, basis: Basis, hashes: &[u64]) -> Vec<Tag> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        let token = |hash: &u64| {
            let cell = self.coherence.watch_tag(shard, *hash);
            self.coherence.tag_at(shard, &cell, *hash, basis.at)
        };
        hashes.iter().map(token).collect()
    }

    /// What a copy of a stored value compares that a look found which stands on this basis.
    pub(crate) fn stamps_of(&self, envelope: &Envelope, basis: Basis) -> Vec<TagStamp> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        let stamp = |tag: &Tag| {
            let cell = self.coherence.watch_tag(shard, tag.hash);
            self.stamp_of(shard, cell, *tag, envelope, basis)
        };
        envelope.tags.iter().map(stamp).collect()
    }

    /// The same for a value that can be judged without asking; `None` if it cannot. Looks at each tag once: shared hits come here.
    pub(crate) fn stamps_at_hand(&self, envelope: &Envelope, basis: Basis) -> Option<Vec<TagStamp>> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        let stamp = |tag: &Tag| {
            let cell =
                self.coherence.tag(shard, tag.hash).filter(|cell| !is_doubted(cell, *tag, envelope))?;
            Some(self.stamp_of(shard, cell, *tag, envelope, basis))
        };
        envelope.tags.iter().map(stamp).collect()
    }

    fn stamp_of(
        &self,
        shard: u16,
        cell: Arc<TagCell>,
        tag: Tag,
        envelope: &Envelope,
        basis: Basis,
    ) -> TagStamp {
        if envelope.is_pending() {
            // A purge does not take what is pending, but a copy outlives that: one from before a purge looks again.
            let tag = self.coherence.tag_at(shard, &cell, tag.hash, basis.at);
            return self.coherence.stamp_tag(shard, cell, tag, basis.at);
        }
        self.coherence.stamp_tag(shard, cell, tag, envelope.at)
    }

    /// What a copy with these tags compares, whose load began with this basis.
    pub(crate) fn stamps(&self, basis: Basis, tags: &[Tag]) -> Vec<TagStamp> {
        let shard = self.coherence.shard_of_stamp(&basis.stamp);
        let stamp = |tag: &Tag| {
            let cell = self.coherence.watch_tag(shard, tag.hash);
            self.coherence.stamp_tag(shard, cell, *tag, basis.at)
        };
        tags.iter().map(stamp).collect()
    }

    /// Asks for the marks of tags whose value Redis has refused. What cannot be asked now is asked another time.
    pub(crate) async fn ask_again(&self, shard: u16, tags: &[Tag]) {
        self.counted(&self.ask_tags(shard, tags.iter().map(|tag| tag.hash).collect()).await);
    }

    /// Whether that came to a good end; if not, it is counted.
    pub(crate) fn counted(&self, asked: &Result<()>) -> bool {
        if asked.is_err() {
            self.stats.count(Counter::SharedErrors);
        }
        asked.is_ok()
    }

    /// These tags as they are now, for a value that is newer than whatever was purged. Costs as [`tags_before`](Self::tags_before).
    ///
    /// # Errors
    /// If Redis cannot be asked.
    pub(crate) async fn tags_now(&self, shard: u16, hashes: &[u64]) -> Result<Vec<Tag>> {
        self.learn_tags(shard, hashes).await?;
        let tag = |hash: &u64| Tag { hash: *hash, token: self.coherence.watch_tag(shard, *hash).token() };
        Ok(hashes.iter().map(tag).collect())
    }

    /// Learns the marks of the tags that are new to this node, or that it has not asked about for so long that they may have expired:
    /// nobody tells of one that was made anew.
    pub(crate) async fn learn_tags(&self, shard: u16, hashes: &[u64]) -> Result<()> {
        let half_ms = self.shared.as_ref().map_or(u64::MAX, |shared| shared.tag_keep_ms() / 2);
        let since_ms = self.clock.monotonic_ms().saturating_sub(half_ms);
        let is_known =
            |hash: &u64| self.coherence.tag(shard, *hash).is_some_and(|cell| cell.was_asked_since(since_ms));
        self.ask_tags(shard, hashes.iter().copied().filter(|hash| !is_known(hash)).collect()).await
    }

    /// Learns what it takes to judge values that Redis has: the marks of their tags that are new to this node, and of those that are
    /// another one than such a value has though it is not older.
    pub(crate) async fn learn_tags_of(
        &self,
        shard: u16,
        envelopes: impl Iterator<Item = &Envelope>,
    ) -> Result<()> {
        let unknown = envelopes.flat_map(|envelope| self.unknown_tags(shard, envelope));
        self.ask_tags(shard, unknown.collect()).await
    }

    /// Whether a stored value can be judged without asking.
    pub(crate) fn are_tags_known(&self, shard: u16, envelope: &Envelope) -> bool {
        self.unknown_tags(shard, envelope).next().is_none()
    }

    fn unknown_tags(&self, shard: u16, envelope: &Envelope) -> impl Iterator<Item = u64> {
        let is_unknown = move |tag: &&Tag| {
            self.coherence.tag(shard, tag.hash).is_none_or(|cell| is_doubted(&cell, **tag, envelope))
        };
        envelope.tags.iter().filter(is_unknown).map(|tag| tag.hash)
    }

    /// Learns the marks of these tags, known or not.
    pub(crate) async fn ask_tags(&self, shard: u16, mut hashes: Vec<u64>) -> Result<()> {
        hashes.sort_unstable();
        hashes.dedup();
        let Some(shared) = &self.shared else {
            hashes.iter().for_each(|hash| self.coherence.watch_tag(shard, *hash).make());
            return Ok(());
        };
        for hashes in hashes.chunks(TAGS_ASKED) {
            let cells: Vec<_> = hashes.iter().map(|hash| self.coherence.watch_tag(shard, *hash)).collect();
            let asked_ms = self.clock.monotonic_ms();
            let marks = shared.marks(shard, hashes, false).await?;
            for ((hash, cell), mark) in hashes.iter().zip(&cells).zip(marks.tags) {
                self.coherence.resolve_tag(shard, *hash, cell, mark, marks.at);
                cell.note_asked(asked_ms);
            }
        }
        Ok(())
    }
}

/// Whether a stored value with this tag speaks of another mark than the one that is known here. What is pending goes by none.
fn is_doubted(cell: &TagCell, tag: Tag, envelope: &Envelope) -> bool {
    !envelope.is_pending() && cell.is_doubted_by(tag.token, envelope.at.seq)
}
