//! Tags: what a purge changes, and what an entry compares.
//!
//! A tag has a *mark* in each shard: a random token, and the number of the shard's sequence when it was put there. A purge puts
//! another token there, under its own number. An entry carries the tokens that its tags had before its load began, and is good
//! while the marks have the same ones; so a purge costs the same for one entry and for a million. A mark that is gone is made
//! anew with another token, or put back by a node that has applied all there is: losing one costs misses, and revives nothing.
//!
//! The numbers say what a token was *before the load began*, though the tags of a value are only known at its end: the token of a
//! mark whose number is not higher than the one that the shard had then.

use std::sync::{Arc, atomic::Ordering};

use rand::Rng;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    dice::dice,
    sync::{AtomicU64, Mutex},
};

/// In the place of a token: the mark is not known, or was put there after the load began. Equal to none, not even to itself.
pub(crate) const NO_TOKEN: u64 = 0;

/// The number of a mark that nothing is put into any more.
const LOST: u64 = u64::MAX;

/// The hash that stands for a tag in envelopes, events and keys.
pub(crate) fn tag_hash(tag: &str) -> u64 {
    xxh3_64(tag.as_bytes())
}

/// A new token.
pub(crate) fn random_token() -> u64 {
    dice().random_range(1..=u64::MAX)
}

/// The text of a token in marks and scripts; none for [`NO_TOKEN`].
pub(crate) fn token_text(token: u64) -> String {
    if token == NO_TOKEN { String::new() } else { format!("{token:016x}") }
}

/// A tag and its token, as an entry carries it and the log tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) hash: u64,
    pub(crate) token: u64,
}

impl Tag {
    /// What a purge puts under it.
    pub(crate) fn purged(hash: u64) -> Self {
        Self { hash, token: random_token() }
    }
}

/// What stands under a tag in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) token: u64,
}

impl Mark {
    /// Reads `number ':' token in 16 hexadecimal digits`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (seq, token) = std::str::from_utf8(text).ok()?.split_once(':')?;
        let token = u64::from_str_radix(token, 16).ok().filter(|token| *token != NO_TOKEN)?;
        Some(Self { seq: seq.parse().ok()?, token })
    }
}

/// The mark of one tag in one shard, as far as this node knows.
#[derive(Debug)]
pub(crate) struct TagCell {
    /// What a hit compares. [`NO_TOKEN`] until Redis has said what it is, or a purge was heard of: whatever was before that one,
    /// this is what stands there since.
    token: AtomicU64,
    /// The number that it has. Held while the token is changed.
    seq: Mutex<u64>,
    /// By the monotonic clock: when Redis said so last.
    asked_ms: AtomicU64,
}

impl TagCell {
    /// One of which nothing is known yet.
    pub(crate) fn unknown() -> Self {
        Self { token: AtomicU64::new(NO_TOKEN), seq: Mutex::new(0), asked_ms: AtomicU64::new(0) }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.token() != NO_TOKEN
    }

    /// Redis was asked about it.
    pub(crate) fn note_asked(&self, now_ms: u64) {
        self.asked_ms.store(now_ms, Ordering::Release);
    }

    /// Whether Redis was asked since then.
    pub(crate) fn was_asked_since(&self, then_ms: u64) -> bool {
        self.asked_ms.load(Ordering::Acquire) >= then_ms
    }

    /// A purge was heard of. What is heard late, or again, changes nothing.
    pub(crate) fn purge(&self, mark: Mark) {
        let mut seq = self.seq.lock();
        if mark.seq > *seq {
            self.put(&mut seq, mark);
        }
    }

    /// Redis said what the mark is. With the number that is known here it is a mark that was lost and made anew.
    pub(crate) fn resolve(&self, mark: Mark) {
        let mut seq = self.seq.lock();
        if mark.seq >= *seq {
            self.put(&mut seq, mark);
        }
    }

    /// Of a tag that nobody else knows: gives it a token if it has none.
    pub(crate) fn make(&self) {
        let mut seq = self.seq.lock();
        if !self.is_known() {
            let mark = Mark { seq: *seq, token: random_token() };
            self.put(&mut seq, mark);
        }
    }

    /// What this node knows is worth nothing any more, and so is every copy that goes by it.
    pub(crate) fn lose(&self) {
        self.put(&mut self.seq.lock(), Mark { seq: LOST, token: NO_TOKEN });
    }

    fn put(&self, seq: &mut u64, mark: Mark) {
        *seq = mark.seq;
        self.token.store(mark.token, Ordering::Release);
    }

    /// The token as it is known now, for what is newer than whatever was purged.
    pub(crate) fn token(&self) -> u64 {
        self.token.load(Ordering::Acquire)
    }

    /// The token of a load that began when the shard had this number; [`NO_TOKEN`] if the tag was purged since.
    pub(crate) fn token_at(&self, began: u64) -> u64 {
        let seq = self.seq.lock();
        if *seq <= began { self.token() } else { NO_TOKEN }
    }

    /// Whether an entry with this token, whose load began at this number, speaks of another mark than the one that is known here,
    /// and not of an earlier one: the mark was lost and made anew, and nobody tells of that.
    pub(crate) fn is_doubted_by(&self, token: u64, began: u64) -> bool {
        self.token() != token && token != NO_TOKEN && self.token_at(began) != NO_TOKEN
    }

    /// For a copy that has this token.
    pub(crate) fn stamp(self: Arc<Self>, token: u64) -> TagStamp {
        TagStamp { cell: self, token }
    }
}

/// A tag that a copy belongs to, and the token the copy has.
#[derive(Clone, Debug)]
pub(crate) struct TagStamp {
    cell: Arc<TagCell>,
    token: u64,
}

impl TagStamp {
    pub(crate) fn is_of(&self, cell: &Arc<TagCell>) -> bool {
        Arc::ptr_eq(&self.cell, cell)
    }

    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.token != NO_TOKEN && self.cell.token() == self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(seq: u64, token: u64) -> Arc<TagCell> {
        let cell = TagCell::unknown();
        cell.resolve(Mark { seq, token });
        Arc::new(cell)
    }

    #[test]
    fn a_copy_is_good_while_its_token_is_the_marks() {
        let cell = known(10, 7);
        let copy = cell.clone().stamp(cell.token_at(10));
        assert!(copy.is_current());
        cell.purge(Mark { seq: 11, token: 8 });
        assert!(!copy.is_current());
        assert!(cell.clone().stamp(cell.token_at(11)).is_current(), "loaded after it");
    }

    #[test]
    fn another_token_is_a_purge_whatever_number_it_has() {
        let cell = known(3, 8);
        assert!(!cell.clone().stamp(7).is_current());
    }

    #[test]
    fn a_load_from_before_the_mark_has_no_token() {
        let cell = known(10, 7);
        assert_eq!((cell.token_at(9), cell.token_at(10)), (NO_TOKEN, 7));
    }

    #[test]
    fn no_token_is_good_with_nothing_known() {
        let cell = Arc::new(TagCell::unknown());
        assert!(!cell.clone().stamp(NO_TOKEN).is_current());
        cell.purge(Mark { seq: 4, token: NO_TOKEN });
        assert!(!cell.clone().stamp(NO_TOKEN).is_current() && !cell.is_known());
    }

    #[test]
    fn what_was_heard_before_redis_answered_is_not_lost() {
        let cell = TagCell::unknown();
        cell.purge(Mark { seq: 6, token: 8 });
        cell.resolve(Mark { seq: 5, token: 7 });
        assert_eq!(cell.token_at(6), 8);
        cell.purge(Mark { seq: 4, token: 9 });
        assert_eq!(cell.token_at(6), 8, "an old message");
    }

    #[test]
    fn a_mark_that_was_made_anew_is_learnt_by_asking() {
        let cell = known(6, 7);
        assert!(cell.is_doubted_by(8, 6) && !cell.is_doubted_by(7, 6));
        assert!(!cell.is_doubted_by(8, 5), "an entry from before");
        assert!(!cell.is_doubted_by(NO_TOKEN, 6));
        cell.resolve(Mark { seq: 6, token: 8 });
        assert_eq!(cell.token_at(6), 8);
    }

    #[test]
    fn nothing_revives_what_is_lost() {
        let cell = known(6, 7);
        let copy = cell.clone().stamp(7);
        cell.lose();
        cell.resolve(Mark { seq: 9, token: 7 });
        cell.purge(Mark { seq: 9, token: 7 });
        assert!(!copy.is_current() && !cell.is_known());
    }

    #[test]
    fn a_tag_that_nobody_else_knows_gets_one_token() {
        let cell = TagCell::unknown();
        cell.make();
        let first = cell.token_at(0);
        cell.make();
        assert!(first != NO_TOKEN && cell.token_at(0) == first);
    }

    #[test]
    fn a_mark_is_read_and_foreign_text_is_none() {
        let mark = Mark { seq: 12, token: 255 };
        assert_eq!(Mark::parse(format!("12:{}", token_text(255)).as_bytes()), Some(mark));
        for foreign in ["", "12", "12:", ":ff", "12:0000000000000000", "x:ff", "12:xyz", "12:ff:ff"] {
            assert_eq!(Mark::parse(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
