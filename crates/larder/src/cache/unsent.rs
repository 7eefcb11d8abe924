//! Invalidations that Redis has not acknowledged: kept, replayed, and respected by this node's own reads until then.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

/// The most debts that are kept. Past it those of the shard that has the most become one: to clear that shard.
const MAX_KEPT: usize = 100_000;

/// One invalidation that is owed to one shard. What concerns several is owed to each, so that a shard that is away holds up no
/// other, and what the others have carried out is not sent to them again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Debt {
    pub(crate) shard: u16,
    pub(crate) what: What,
}

/// What a shard is to forget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A key, by its text form.
    Key(String),
    /// A key that a write of this node is at, by its text form, and the write's part in its block.
    Write(String, [u8; 16]),
    /// A tag, by its hash.
    Tag(u64),
    /// Everything.
    Clear,
}

/// The invalidations that this node still owes to Redis.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Read on every shared lookup, so that the lock is only taken while something is owed.
    owing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those to which something is owed.
    shards: BTreeMap<u16, Account>,
    /// How many there are.
    count: usize,
    now: Moment,
    replaying: bool,
}

/// What is owed to one shard.
#[derive(Debug, Default)]
struct Account {
    /// In order, so that they are sent in the same one every time; each with the moment when it was owed last.
    debts: BTreeMap<What, Moment>,
    /// How many of them concern more than one key: while there are any, the shard is not believed about anything.
    broad: usize,
}

/// A point in the order of what was owed. An invalidation that was sent before it makes good what was owed until then, and not
/// what came while it was on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Debt {
    pub(crate) fn key(shard: u16, text: &str) -> Self {
        Self { shard, what: What::Key(text.to_owned()) }
    }

    pub(crate) fn write(shard: u16, text: &str, token: [u8; 16]) -> Self {
        Self { shard, what: What::Write(text.to_owned(), token) }
    }
}

impl What {
    fn is_broad(&self) -> bool {
        !matches!(self, Self::Key(_) | Self::Write(..))
    }
}

impl Unsent {
    /// Whether what Redis says about `key` may be believed, which may stand in these shards.
    pub(crate) fn trusts<S: IntoIterator<Item = u16>>(&self, key: &str, shards: impl FnOnce() -> S) -> bool {
        if !self.owing.load(Ordering::Acquire) {
            return true;
        }
        let state = self.state.lock();
        let is_clean = |owed: &Account| owed.broad == 0 && !owed.has(key);
        shards().into_iter().all(|shard| state.shards.get(&shard).is_none_or(is_clean))
    }

    /// Remembers what could not be sent. Returns whether the caller must start the replay.
    pub(crate) fn keep(&self, debts: &[Debt]) -> bool {
        let mut state = self.state.lock();
        state.now.0 += 1;
        for debt in debts {
            state.owe(debt);
        }
        self.owing.store(true, Ordering::Release);
        !std::mem::replace(&mut state.replaying, true)
    }

    /// Now, to be asked before something is sent that makes debts good; `None` if there are none.
    pub(crate) fn moment(&self) -> Option<Moment> {
        self.owing.load(Ordering::Acquire).then(|| self.state.lock().now)
    }

    /// Up to `most` debts of each shard to send again, and what acknowledges them.
    pub(crate) fn next(&self, most: usize) -> (Vec<Debt>, Moment) {
        let state = self.state.lock();
        let first = |(shard, owed): (&u16, &Account)| {
            let debt = |what: &What| Debt { shard: *shard, what: what.clone() };
            owed.debts.keys().take(most).map(debt).collect::<Vec<_>>()
        };
        (state.shards.iter().flat_map(first).collect(), state.now)
    }

    /// Strikes off what Redis has acknowledged and was sent at this moment. Returns whether nothing is owed any more; the replay
    /// ends then.
    pub(crate) fn acknowledged<'a>(&self, debts: impl IntoIterator<Item = &'a Debt>, sent: Moment) -> bool {
        let mut state = self.state.lock();
        for debt in debts {
            state.strike_off(debt, sent);
        }
        let done = state.shards.is_empty();
        if done {
            state.replaying = false;
            self.owing.store(false, Ordering::Release);
        }
        done
    }

    /// How many invalidations are owed.
    pub(crate) fn len(&self) -> usize {
        if self.owing.load(Ordering::Acquire) { self.state.lock().count } else { 0 }
    }
}

impl Account {
    /// Whether this key is owed, for itself or after a write.
    fn has(&self, key: &str) -> bool {
        let write = |token| What::Write(key.to_owned(), [token; 16]);
        self.debts.contains_key(&What::Key(key.to_owned()))
            || self.debts.range(write(u8::MIN)..=write(u8::MAX)).next().is_some()
    }
}

impl State {
    fn owe(&mut self, Debt { shard, what }: &Debt) {
        let owed = self.shards.entry(*shard).or_default();
        if owed.debts.insert(what.clone(), self.now).is_some() {
            return;
        }
        owed.broad += usize::from(what.is_broad());
        self.count += 1;
        if self.count > MAX_KEPT
            && let Some(most) = self.shards.values_mut().max_by_key(|owed| owed.debts.len())
        {
            self.count -= most.debts.len() - 1;
            *most = Account { debts: BTreeMap::from([(What::Clear, self.now)]), broad: 1 };
        }
    }

    fn strike_off(&mut self, Debt { shard, what }: &Debt, sent: Moment) {
        let Some(owed) = self.shards.get_mut(shard) else { return };
        if owed.debts.get(what).is_some_and(|since| *since <= sent) {
            owed.debts.remove(what);
            owed.broad -= usize::from(what.is_broad());
            self.count -= 1;
        }
        if owed.debts.is_empty() {
            self.shards.remove(shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Debt {
        Debt::key(0, text)
    }

    fn tag(shard: u16) -> Debt {
        Debt { shard, what: What::Tag(1) }
    }

    #[test]
    fn an_owed_key_is_not_trusted_until_it_is_acknowledged() {
        let unsent = Unsent::default();
        assert!(unsent.trusts("a", || [0]));
        assert!(unsent.keep(&[key("a")]), "the first one starts the replay");
        assert!(!unsent.keep(&[key("b")]), "the second one finds it running");
        assert!(!unsent.trusts("a", || [0]));
        assert!(unsent.trusts("c", || [0]));
        assert!(!unsent.acknowledged(&[key("a")], unsent.moment().unwrap()));
        assert!(unsent.trusts("a", || [0]));
        assert!(unsent.acknowledged(&[key("b")], unsent.moment().unwrap()));
        assert_eq!(unsent.len(), 0);
    }

    #[test]
    fn a_key_whose_write_has_not_ended_is_not_trusted_either() {
        let unsent = Unsent::default();
        let (one, other) = (Debt::write(0, "b", [1; 16]), Debt::write(0, "b", [255; 16]));
        unsent.keep(&[one.clone(), other.clone(), Debt::key(0, "d")]);
        let trusted = || ["a", "b", "c"].map(|key| unsent.trusts(key, || [0]));
        assert_eq!(trusted(), [true, false, true]);
        unsent.acknowledged(&[one, Debt::key(0, "b")], unsent.moment().unwrap());
        assert_eq!(trusted(), [true, false, true], "the other write");
        unsent.acknowledged(&[other], unsent.moment().unwrap());
        assert_eq!(trusted(), [true; 3]);
    }

    #[test]
    fn what_is_owed_again_while_it_is_sent_stays_owed() {
        let unsent = Unsent::default();
        unsent.keep(&[key("a"), key("b")]);
        let (sent, moment) = unsent.next(10);
        unsent.keep(&[key("a")]);
        assert!(!unsent.acknowledged(&sent, moment), "the second invalidation of a is not sent yet");
        assert!(!unsent.trusts("a", || [0]));
        assert!(unsent.trusts("b", || [0]));
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [key("a")]);
        assert!(unsent.acknowledged(&sent, moment));
    }

    #[test]
    fn too_many_debts_become_one_of_the_shard_that_has_the_most_and_none_is_forgotten() {
        let clear = Debt { shard: 0, what: What::Clear };
        let unsent = Unsent::default();
        let keys: Vec<Debt> = (1..MAX_KEPT).map(|n| key(&n.to_string())).collect();
        unsent.keep(&keys);
        unsent.keep(&[Debt::key(1, "of another shard")]);
        assert!(unsent.trusts("something else", || [0]));
        unsent.keep(&[tag(0), key("something else")]);
        assert!(!unsent.trusts("whatever", || [0]), "all of it may be stale");
        assert!(unsent.trusts("whatever", || [1]), "the other shard owes one key as before");
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [key("something else"), clear.clone(), Debt::key(1, "of another shard")]);
        // Once more while that is on its way.
        unsent.keep(&keys[1..]);
        unsent.acknowledged(&sent, moment);
        assert!(!unsent.trusts("whatever", || [0]), "this clear is not sent yet");
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [clear]);
        assert!(unsent.acknowledged(&sent, moment));
        assert!(unsent.trusts("whatever", || [0]));
    }

    #[test]
    fn while_a_tag_is_owed_to_a_shard_it_alone_is_not_trusted() {
        let unsent = Unsent::default();
        unsent.keep(&[tag(0), key("a")]);
        assert!(!unsent.trusts("b", || [0]));
        assert!(unsent.trusts("b", || [1]));
        assert!(!unsent.trusts("b", || [1, 0]), "one of its places is not trusted");
        unsent.acknowledged(&[tag(0)], unsent.moment().unwrap());
        assert!(unsent.trusts("b", || [0]));
        assert!(!unsent.trusts("a", || [0]));
    }

    #[test]
    fn a_shard_that_owes_much_holds_up_no_other() {
        let unsent = Unsent::default();
        unsent.keep(&[key("a"), key("b"), key("c"), Debt::key(7, "z")]);
        assert_eq!(unsent.next(2).0, [key("a"), key("b"), Debt::key(7, "z")]);
    }
}
