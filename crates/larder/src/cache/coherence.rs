//! What this node knows of the invalidations of all nodes, and how a copy is checked against it.
//!
//! Every shard has a gapless *sequence*: each invalidation, by whatever node, takes the next number. A copy remembers the
//! number its shard had reached when its load began. The shard as a whole remembers the number of its last clear, and a copy is
//! good if it has no lower one, within one *epoch* of the sequence. A copy with [tags](super::tag) carries their tokens too, and is
//! good while they are the same. Numbers and tokens compare exactly, need no clock, and a mark that is not known, because its
//! key was evicted or lost, counts as made just now: losing one costs misses and never revives anything.
//!
//! Single keys are forgotten by *bucket*: the hash of a key picks one of 65,536 counters, and a copy is good while its
//! counter stands still. Two keys that share a bucket share their invalidations, which costs a rare extra look-up.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    cache::{
        entry::PENDING,
        route::Route,
        tag::{Mark, NO_TOKEN, Tag, TagCell, TagStamp},
    },
    sync::{AtomicU32, AtomicU64, RwLock},
};

/// Few in the crate's own tests, which make a new view for each of thousands of histories.
const BUCKET_BITS: u32 = if cfg!(test) { 10 } else { 16 };
/// The most tags of one shard that are followed at once; past that the shard is flushed and begins anew.
const MAX_TAGS: usize = 10_000;

/// Where a shard's sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Random, new whenever the sequence had to begin again. Zero: not known yet.
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// What a copy must compare when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    shard: u16,
    bucket: u16,
    bucket_count: u32,
    flushes: u32,
}

/// What a load stands on: taken before it begins, and compared ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) stamp: Stamp,
    pub(crate) at: Position,
    /// How many purges of tags this node had heard of in the shard: what tags a load belongs to is only known at its end.
    pub(crate) tag_purges: u32,
    /// Which of the key's shards it is about.
    pub(crate) route: Route,
}

/// One shard, as this node sees it. What a hit compares comes first, in one line of the processor's cache.
#[derive(Debug)]
#[repr(C, align(64))]
struct Shard {
    /// By the monotonic clock: until when this node may rely on what it has applied.
    synced_until_ms: AtomicU64,
    /// Moves when everything this node holds of the shard is to be forgotten.
    flushes: AtomicU32,
    /// Moves with every purge of a tag.
    tag_purges: AtomicU32,
    epoch: AtomicU64,
    /// Everything up to this number has been applied here.
    applied: AtomicU64,
    /// The highest number this node has seen acknowledged, its own invalidations included.
    known: AtomicU64,
    /// The number of the last clear.
    cleared: AtomicU64,
    tags: RwLock<HashMap<u64, Arc<TagCell>>>,
}

/// The invalidations of one cache, as this node knows them.
#[derive(Debug)]
pub(crate) struct Coherence {
    buckets: Box<[AtomicU32]>,
    shards: Box<[Shard]>,
    pub(crate) gaps: AtomicU64,
    pub(crate) flushes: AtomicU64,
}

impl Coherence {
    /// A view that nobody else can change: always in step.
    pub(crate) fn alone() -> Self {
        let coherence = Self::of_shards(1);
        coherence.shards[0].synced_until_ms.store(u64::MAX, Ordering::Relaxed);
        coherence.shards[0].epoch.store(1, Ordering::Relaxed);
        coherence
    }

    /// A view of a shared cache, out of step until it is synced.
    pub(crate) fn of_shards(shards: u16) -> Self {
        let shard = || Shard {
            epoch: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            known: AtomicU64::new(0),
            cleared: AtomicU64::new(0),
            flushes: AtomicU32::new(0),
            synced_until_ms: AtomicU64::new(0),
            tag_purges: AtomicU32::new(0),
            tags: RwLock::default(),
        };
        Self {
            buckets: (0..1 << BUCKET_BITS).map(|_| AtomicU32::new(0)).collect(),
            shards: (0..shards).map(|_| shard()).collect(),
            gaps: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        }
    }

    fn bucket_of(hash: u64) -> u16 {
        (hash >> (u64::BITS - BUCKET_BITS)) as u16
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    pub(crate) fn shard_of(&self, text: &str) -> u16 {
        (xxh3_64(text.as_bytes()) % self.shards.len() as u64) as u16
    }

    /// Taken before a look-up or a load begins; what it brings is good while the stamp is.
    pub(crate) fn stamp(&self, text: &str) -> Stamp {
        let hash = xxh3_64(text.as_bytes());
        self.stamp_in((hash % self.shards.len() as u64) as u16, hash)
    }

    fn stamp_in(&self, shard: u16, hash: u64) -> Stamp {
        let bucket = Self::bucket_of(hash);
        Stamp {
            shard,
            bucket,
            bucket_count: self.buckets[usize::from(bucket)].load(Ordering::Acquire),
            flushes: self.shards[usize::from(shard)].flushes.load(Ordering::Acquire),
        }
    }

    /// What a load of this key that begins now stands on.
    pub(crate) fn basis(&self, text: &str) -> Basis {
        self.basis_in(self.shard_of(text), Route::Home, text)
    }

    /// The same for one of its shards.
    pub(crate) fn basis_in(&self, shard: u16, route: Route, text: &str) -> Basis {
        // The position first: an invalidation in between spoils the stamp or is later than the position.
        let at = self.position(shard);
        let stamp = self.stamp_in(shard, xxh3_64(text.as_bytes()));
        Basis { stamp, at, tag_purges: self.tag_purges(&stamp), route }
    }

    fn tag_purges(&self, stamp: &Stamp) -> u32 {
        self.shards[usize::from(stamp.shard)].tag_purges.load(Ordering::Acquire)
    }

    /// Whether a load that stands on this is as good as one that begins now, whatever tags it will turn out to have.
    pub(crate) fn is_as_now(&self, basis: &Basis) -> bool {
        self.is_current(&basis.stamp) && self.tag_purges(&basis.stamp) == basis.tag_purges
    }

    /// Whether nothing this node knows of speaks against a copy with this stamp.
    pub(crate) fn is_current(&self, stamp: &Stamp) -> bool {
        self.is_key_current(stamp)
            && self.shards[usize::from(stamp.shard)].flushes.load(Ordering::Acquire) == stamp.flushes
    }

    /// [`is_current`](Self::is_current), by a node that is in step: all that a hit asks.
    #[inline]
    pub(crate) fn is_current_and_synced(&self, stamp: &Stamp, now_ms: u64) -> bool {
        let shard = &self.shards[usize::from(stamp.shard)];
        self.is_key_current(stamp)
            && shard.flushes.load(Ordering::Acquire) == stamp.flushes
            && now_ms < shard.synced_until_ms.load(Ordering::Acquire)
    }

    /// Whether this node knows of all invalidations of the shard, up to a bounded time ago.
    pub(crate) fn is_synced(&self, shard: u16, now_ms: u64) -> bool {
        now_ms < self.shards[usize::from(shard)].synced_until_ms.load(Ordering::Acquire)
    }

    /// Whether nothing was forgotten of the key's bucket since the stamp was taken; its shard may have been flushed.
    #[inline]
    pub(crate) fn is_key_current(&self, stamp: &Stamp) -> bool {
        self.buckets[usize::from(stamp.bucket)].load(Ordering::Acquire) == stamp.bucket_count
    }

    pub(crate) fn shard_of_stamp(&self, stamp: &Stamp) -> u16 {
        stamp.shard
    }

    pub(crate) fn is_stamp_synced(&self, stamp: &Stamp, now_ms: u64) -> bool {
        self.is_synced(stamp.shard, now_ms)
    }

    /// Where the shard stands, for a load that begins now.
    pub(crate) fn position(&self, shard: u16) -> Position {
        let view = &self.shards[usize::from(shard)];
        loop {
            // The epoch before the number and after it: a number of the epoch before may be far too high in this one.
            let epoch = view.epoch.load(Ordering::Acquire);
            let seq = view.applied.load(Ordering::Acquire);
            if view.epoch.load(Ordering::Acquire) == epoch {
                return Position { epoch, seq };
            }
        }
    }

    /// The highest number this node has seen acknowledged.
    pub(crate) fn known(&self, shard: u16) -> Position {
        let view = &self.shards[usize::from(shard)];
        Position { epoch: view.epoch.load(Ordering::Acquire), seq: view.known.load(Ordering::Acquire) }
    }

    pub(crate) fn has_applied(&self, shard: u16, wanted: Position) -> bool {
        let at = self.position(shard);
        at.epoch == wanted.epoch && at.seq >= wanted.seq
    }

    /// Whether a stored copy of this position is later than the shard's last clear. One that is still to be written behind
    /// always is.
    pub(crate) fn is_after_clear(&self, shard: u16, stored: Position) -> bool {
        if stored.seq == PENDING {
            return true;
        }
        let view = &self.shards[usize::from(shard)];
        stored.epoch == view.epoch.load(Ordering::Acquire)
            && view.cleared.load(Ordering::Acquire) <= stored.seq
    }

    /// Forgets every copy of the key, and of the others in its bucket.
    pub(crate) fn forget(&self, text: &str) {
        self.forget_hash(xxh3_64(text.as_bytes()));
    }

    /// Forgets every copy of the key's bucket, if nothing was forgotten of it since the stamp was taken: then returns a stamp for
    /// a copy that is good from here on.
    pub(crate) fn forget_since(&self, stamp: &Stamp) -> Option<Stamp> {
        let next = stamp.bucket_count.wrapping_add(1);
        let bucket = &self.buckets[usize::from(stamp.bucket)];
        bucket.compare_exchange(stamp.bucket_count, next, Ordering::AcqRel, Ordering::Acquire).ok()?;
        Some(Stamp { bucket_count: next, ..*stamp })
    }

    pub(crate) fn forget_hash(&self, hash: u64) {
        self.buckets[usize::from(Self::bucket_of(hash))].fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets everything of the shard, tags included.
    pub(crate) fn flush(&self, shard: u16) {
        let view = &self.shards[usize::from(shard)];
        let mut tags = view.tags.write();
        for cell in tags.values() {
            cell.lose();
        }
        tags.clear();
        view.flushes.fetch_add(1, Ordering::AcqRel);
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets every copy of the shard; what Redis has stays good.
    pub(crate) fn forget_shard(&self, shard: u16) {
        self.shards[usize::from(shard)].flushes.fetch_add(1, Ordering::AcqRel);
    }

    /// The shard was cleared at this position. One of another epoch than this node knows cannot be compared with anything
    /// that it holds: all of that is from before.
    pub(crate) fn clear(&self, shard: u16, at: Position) {
        if !self.is_known_epoch(shard, at) {
            return self.flush(shard);
        }
        let view = &self.shards[usize::from(shard)];
        if view.cleared.fetch_max(at.seq, Ordering::AcqRel) < at.seq {
            view.flushes.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn is_known_epoch(&self, shard: u16, at: Position) -> bool {
        self.shards[usize::from(shard)].epoch.load(Ordering::Acquire) == at.epoch
    }

    /// Takes the next number of a sequence that nobody shares.
    pub(crate) fn next_alone(&self) -> Position {
        let seq = self.shards[0].applied.fetch_add(1, Ordering::AcqRel) + 1;
        Position { seq, ..self.position(0) }
    }

    /// The tag was purged at this position and has this token now; of another epoch, as with [`clear`](Self::clear).
    pub(crate) fn purge_tag(&self, shard: u16, tag: Tag, at: Position) {
        self.shards[usize::from(shard)].tag_purges.fetch_add(1, Ordering::AcqRel);
        if let Some(cell) = self.shards[usize::from(shard)].tags.read().get(&tag.hash) {
            cell.purge(Mark { seq: at.seq, token: tag.token });
        }
        if !self.is_known_epoch(shard, at) {
            self.flush(shard);
        }
    }

    /// Begins to gather the purges of a tag. Ask Redis for its mark after that, then [resolve](Self::resolve_tag): a purge in
    /// between is in the cell already.
    pub(crate) fn watch_tag(&self, shard: u16, tag: u64) -> Arc<TagCell> {
        let view = &self.shards[usize::from(shard)];
        if let Some(cell) = view.tags.read().get(&tag) {
            return cell.clone();
        }
        if view.tags.read().len() >= MAX_TAGS {
            self.flush(shard);
        }
        view.tags.write().entry(tag).or_insert_with(|| Arc::new(TagCell::unknown())).clone()
    }

    /// Redis said what the mark of a tag was at this position. What it says of another epoch than this node knows is about none of
    /// the copies here: until the new one has begun here, all of them count as purged.
    pub(crate) fn resolve_tag(&self, shard: u16, tag: u64, cell: &Arc<TagCell>, mark: Mark, at: Position) {
        if self.is_known_epoch(shard, at) {
            return cell.resolve(mark);
        }
        cell.lose();
        let mut tags = self.shards[usize::from(shard)].tags.write();
        if tags.get(&tag).is_some_and(|known| Arc::ptr_eq(known, cell)) {
            tags.remove(&tag);
        }
    }

    /// The tag's cell, if its mark is known.
    pub(crate) fn tag(&self, shard: u16, tag: u64) -> Option<Arc<TagCell>> {
        let tags = self.shards[usize::from(shard)].tags.read();
        tags.get(&tag).filter(|cell| cell.is_known()).cloned()
    }

    /// The tag with the token that it had at this position, for what was loaded from there on.
    pub(crate) fn tag_at(&self, shard: u16, cell: &TagCell, tag: u64, at: Position) -> Tag {
        // The cell, which was taken before, counts in the shard's epoch. A number of an earlier one may be higher than all
        // of its marks.
        // And it knows no more than what is applied here: behind that there may be purges.
        let token = if self.has_applied(shard, at) { cell.token_at(at.seq) } else { NO_TOKEN };
        Tag { hash: tag, token }
    }

    /// For a copy with this tag that was loaded at this position. A token of an earlier epoch says nothing in this one.
    pub(crate) fn stamp_tag(&self, shard: u16, cell: Arc<TagCell>, tag: Tag, at: Position) -> TagStamp {
        cell.stamp(if self.is_known_epoch(shard, at) { tag.token } else { NO_TOKEN })
    }

    /// An invalidation of this node was acknowledged with this position.
    pub(crate) fn acknowledged(&self, shard: u16, at: Position) {
        let view = &self.shards[usize::from(shard)];
        if view.epoch.load(Ordering::Acquire) == at.epoch {
            view.known.fetch_max(at.seq, Ordering::AcqRel);
        }
    }

    /// The shard is followed from here on: a new epoch, or the first look at it. Only its follower calls this.
    pub(crate) fn begin(&self, shard: u16, at: Position, cleared: u64) {
        let view = &self.shards[usize::from(shard)];
        if self.is_known_epoch(shard, at) {
            self.flush(shard);
            // A clear of this node may have come after the look that tells of the last one.
            view.cleared.fetch_max(cleared, Ordering::AcqRel);
        } else {
            // Until all numbers are those of the new epoch, there is none that anything could be good in.
            view.epoch.store(0, Ordering::Release);
            self.flush(shard);
            view.cleared.store(cleared, Ordering::Release);
        }
        view.known.store(at.seq, Ordering::Release);
        view.applied.store(at.seq, Ordering::Release);
        view.epoch.store(at.epoch, Ordering::Release);
    }

    /// Everything up to `seq` is applied. Only the shard's follower calls this.
    pub(crate) fn advance(&self, shard: u16, seq: u64) {
        let view = &self.shards[usize::from(shard)];
        view.known.fetch_max(seq, Ordering::AcqRel);
        view.applied.store(seq, Ordering::Release);
    }

    /// What is applied may be relied on until then.
    pub(crate) fn sync_until(&self, shard: u16, until_ms: u64) {
        self.shards[usize::from(shard)].synced_until_ms.store(until_ms, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURGED: Tag = Tag { hash: 7, token: 99 };

    /// A cell whose mark has this number.
    fn follow(coherence: &Coherence, tag: u64, seq: u64) -> Arc<TagCell> {
        let cell = coherence.watch_tag(0, tag);
        cell.resolve(Mark { seq, token: 5 });
        cell
    }

    /// A copy with the tag of this cell that was loaded when the shard had this number.
    fn copy(cell: Arc<TagCell>, seq: u64) -> TagStamp {
        let token = cell.token_at(seq);
        cell.stamp(token)
    }

    /// Of the epoch that a view begins with.
    fn at(seq: u64) -> Position {
        Position { epoch: 0, seq }
    }

    #[test]
    fn a_purge_of_an_epoch_that_is_not_known_here_makes_everything_stale() {
        for purge in [|it: &Coherence, at| it.clear(0, at), |it: &Coherence, at| it.purge_tag(0, PURGED, at)]
        {
            let coherence = Coherence::of_shards(1);
            coherence.begin(0, Position { epoch: 1, seq: 10 }, 9);
            let (stamp, copy) = (coherence.stamp("a"), copy(follow(&coherence, 7, 0), 10));
            purge(&coherence, Position { epoch: 2, seq: 1 });
            assert!(!coherence.is_current(&stamp) && !copy.is_current());
        }
    }

    #[test]
    fn what_redis_says_of_a_tag_in_another_epoch_saves_no_copy() {
        let coherence = Coherence::of_shards(1);
        coherence.begin(0, Position { epoch: 1, seq: 10 }, 0);
        let cell = coherence.watch_tag(0, 7);
        let mark = Mark { seq: 0, token: 5 };
        coherence.resolve_tag(0, 7, &cell, mark, Position { epoch: 2, seq: 0 });
        assert!(!copy(cell, 10).is_current());
        let cell = coherence.watch_tag(0, 7);
        coherence.resolve_tag(0, 7, &cell, mark, Position { epoch: 1, seq: 9 });
        assert!(copy(cell, 10).is_current());
    }

    #[test]
    fn beginning_again_in_the_same_epoch_forgets_no_clear() {
        let coherence = Coherence::of_shards(1);
        let at = |seq| Position { epoch: 1, seq };
        coherence.begin(0, at(8), 0);
        coherence.clear(0, at(10));
        coherence.begin(0, at(9), 3);
        assert!(!coherence.is_after_clear(0, at(9)));
        coherence.begin(0, Position { epoch: 2, seq: 1 }, 1);
        assert!(coherence.is_after_clear(0, Position { epoch: 2, seq: 1 }), "numbers of another epoch");
    }

    #[test]
    fn a_token_of_an_earlier_epoch_is_good_in_no_other() {
        let coherence = Coherence::of_shards(1);
        coherence.begin(0, Position { epoch: 1, seq: 10 }, 0);
        let cell = follow(&coherence, 7, 0);
        let tag = |epoch| coherence.tag_at(0, &cell, 7, Position { epoch, seq: 10 });
        assert_eq!((tag(1).token, tag(2).token), (5, NO_TOKEN));
        let ahead = coherence.tag_at(0, &cell, 7, Position { epoch: 1, seq: 11 });
        assert_eq!(ahead.token, NO_TOKEN, "this node may have missed a purge before that");
        let copy = |epoch| coherence.stamp_tag(0, cell.clone(), tag(1), Position { epoch, seq: 10 });
        assert!(copy(1).is_current() && !copy(2).is_current());
    }

    #[test]
    fn a_stamp_is_good_until_its_key_is_forgotten_or_its_shard_flushed() {
        let coherence = Coherence::of_shards(4);
        let stamp = coherence.stamp("a");
        assert!(coherence.is_current(&stamp));
        coherence.forget("a");
        assert!(!coherence.is_current(&stamp));
        let stamp = coherence.stamp("a");
        coherence.flush((coherence.shard_of("a") + 1) % 4);
        assert!(coherence.is_current(&stamp), "another shard");
        coherence.flush(coherence.shard_of("a"));
        assert!(!coherence.is_current(&stamp));
    }

    #[test]
    fn a_copy_replaces_all_older_ones_unless_something_was_heard_in_between() {
        let coherence = Coherence::of_shards(4);
        let (begun, older) = (coherence.stamp("a"), coherence.stamp("a"));
        let written = coherence.forget_since(&begun).expect("nothing was heard");
        assert!(coherence.is_current(&written) && !coherence.is_current(&older));
        coherence.forget("a");
        assert!(!coherence.is_current(&written));
        assert!(coherence.forget_since(&written).is_none(), "something was");
    }

    #[test]
    fn a_tagged_copy_is_good_while_no_purge_is_later() {
        let coherence = Coherence::of_shards(1);
        let older = copy(follow(&coherence, 7, 10), 10);
        assert!(older.is_current());
        coherence.purge_tag(0, PURGED, at(11));
        assert!(!older.is_current());
        assert!(copy(follow(&coherence, 7, 3), 11).is_current(), "an older word of Redis changes nothing");
    }

    #[test]
    fn a_load_from_before_the_purge_of_any_tag_is_not_as_good_as_a_new_one() {
        let coherence = Coherence::of_shards(2);
        let shard = coherence.shard_of("a");
        let basis = coherence.basis("a");
        assert!(coherence.is_as_now(&basis));
        coherence.purge_tag(1 - shard, PURGED, at(1));
        assert!(coherence.is_as_now(&basis), "another shard");
        coherence.purge_tag(shard, PURGED, at(1));
        assert!(!coherence.is_as_now(&basis));
        assert!(coherence.is_current(&basis.stamp), "a copy may have other tags");
    }

    #[test]
    fn a_flush_makes_every_tagged_copy_stale_for_good() {
        let coherence = Coherence::of_shards(1);
        let copy = copy(follow(&coherence, 7, 0), u64::MAX - 1);
        coherence.flush(0);
        follow(&coherence, 7, 0);
        assert!(!copy.is_current(), "its cell is not the one that is followed now");
    }

    #[test]
    fn too_many_tags_flush_the_shard_instead_of_growing() {
        let coherence = Coherence::of_shards(1);
        let copy = copy(follow(&coherence, 0, 0), 5);
        for tag in 1..=MAX_TAGS as u64 {
            follow(&coherence, tag, 0);
        }
        assert!(!copy.is_current());
        assert!(coherence.shards[0].tags.read().len() <= MAX_TAGS);
    }

    #[test]
    fn a_position_of_another_epoch_is_never_enough() {
        let coherence = Coherence::of_shards(1);
        coherence.begin(0, Position { epoch: 1, seq: 10 }, 4);
        assert!(coherence.has_applied(0, Position { epoch: 1, seq: 10 }));
        assert!(!coherence.has_applied(0, Position { epoch: 1, seq: 11 }));
        assert!(!coherence.has_applied(0, Position { epoch: 2, seq: 1 }));
        assert!(coherence.is_after_clear(0, Position { epoch: 1, seq: 4 }));
        assert!(!coherence.is_after_clear(0, Position { epoch: 1, seq: 3 }));
        assert!(!coherence.is_after_clear(0, Position { epoch: 2, seq: 9 }));
    }

    #[test]
    fn a_purge_between_watching_and_resolving_is_not_lost() {
        let coherence = Coherence::of_shards(1);
        let cell = coherence.watch_tag(0, 7);
        assert!(coherence.tag(0, 7).is_none(), "nobody may rely on it yet");
        coherence.purge_tag(0, PURGED, at(6));
        coherence.resolve_tag(0, 7, &cell, Mark { seq: 5, token: 5 }, at(6));
        assert!(!copy(coherence.tag(0, 7).unwrap(), 5).is_current());
    }
}
