//! Invalidations that Redis has not acknowledged: kept, replayed, and respected by this node's own reads until then.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

/// The most debts that are kept. Past it they become one: to clear the cache.
const MAX_KEPT: usize = 100_000;

/// One invalidation that is owed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Debt {
    /// A key, by its text form.
    Key(String),
    /// A tag, by its hash.
    Tag(u64),
    /// Everything.
    Clear,
    /// A tag in one shard.
    TagIn(u16, u64),
    /// Everything of one shard.
    ClearIn(u16),
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
    /// In order, so that they are sent in the same one every time; each with the moment when it was owed last.
    debts: BTreeMap<Debt, Moment>,
    /// How many of them concern more than one key: while there are any, Redis is not believed about anything.
    broad: usize,
    now: Moment,
    replaying: bool,
}

/// A point in the order of what was owed. An invalidation that was sent before it makes good what was owed until then, and not
/// what came while it was on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Debt {
    fn is_broad(&self) -> bool {
        !matches!(self, Self::Key(_))
    }
}

impl Unsent {
    /// Whether what Redis says about `key` may be believed.
    pub(crate) fn trusts(&self, key: &str) -> bool {
        if !self.owing.load(Ordering::Acquire) {
            return true;
        }
        let state = self.state.lock();
        state.broad == 0 && !state.debts.contains_key(&Debt::Key(key.to_owned()))
    }

    /// Remembers what could not be sent. Returns whether the caller must start the replay.
    pub(crate) fn keep(&self, debts: &[Debt]) -> bool {
        let mut state = self.state.lock();
        state.now.0 += 1;
        for debt in debts {
            state.owe(debt.clone());
        }
        self.owing.store(true, Ordering::Release);
        !std::mem::replace(&mut state.replaying, true)
    }

    /// Now, to be asked before something is sent that makes debts good; `None` if there are none.
    pub(crate) fn moment(&self) -> Option<Moment> {
        self.owing.load(Ordering::Acquire).then(|| self.state.lock().now)
    }

    /// Up to `most` debts to send again, and what acknowledges them.
    pub(crate) fn next(&self, most: usize) -> (Vec<Debt>, Moment) {
        let state = self.state.lock();
        (state.debts.keys().take(most).cloned().collect(), state.now)
    }

    /// Strikes off what Redis has acknowledged and was sent at this moment. Returns whether nothing is owed any more; the replay
    /// ends then.
    pub(crate) fn acknowledged(&self, debts: &[Debt], sent: Moment) -> bool {
        let mut state = self.state.lock();
        for debt in debts {
            if state.debts.get(debt).is_some_and(|owed| *owed <= sent) {
                state.debts.remove(debt);
                state.broad -= usize::from(debt.is_broad());
            }
        }
        let done = state.debts.is_empty();
        if done {
            state.replaying = false;
            self.owing.store(false, Ordering::Release);
        }
        done
    }

    /// How many invalidations are owed.
    pub(crate) fn len(&self) -> usize {
        if self.owing.load(Ordering::Acquire) { self.state.lock().debts.len() } else { 0 }
    }
}

impl State {
    fn owe(&mut self, debt: Debt) {
        let broad = debt.is_broad();
        if self.debts.insert(debt, self.now).is_none() {
            self.broad += usize::from(broad);
        }
        if self.debts.len() > MAX_KEPT {
            self.debts = BTreeMap::from([(Debt::Clear, self.now)]);
            self.broad = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Debt {
        Debt::Key(text.into())
    }

    #[test]
    fn an_owed_key_is_not_trusted_until_it_is_acknowledged() {
        let unsent = Unsent::default();
        assert!(unsent.trusts("a"));
        assert!(unsent.keep(&[key("a")]), "the first one starts the replay");
        assert!(!unsent.keep(&[key("b")]), "the second one finds it running");
        assert!(!unsent.trusts("a"));
        assert!(unsent.trusts("c"));
        assert!(!unsent.acknowledged(&[key("a")], unsent.moment().unwrap()));
        assert!(unsent.trusts("a"));
        assert!(unsent.acknowledged(&[key("b")], unsent.moment().unwrap()));
        assert_eq!(unsent.len(), 0);
    }

    #[test]
    fn what_is_owed_again_while_it_is_sent_stays_owed() {
        let unsent = Unsent::default();
        unsent.keep(&[key("a"), key("b")]);
        let (sent, moment) = unsent.next(10);
        unsent.keep(&[key("a")]);
        assert!(!unsent.acknowledged(&sent, moment), "the second invalidation of a is not sent yet");
        assert!(!unsent.trusts("a"));
        assert!(unsent.trusts("b"));
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [key("a")]);
        assert!(unsent.acknowledged(&sent, moment));
    }

    #[test]
    fn too_many_debts_become_one_and_none_is_forgotten() {
        let unsent = Unsent::default();
        let keys: Vec<Debt> = (0..MAX_KEPT).map(|n| Debt::Key(n.to_string())).collect();
        unsent.keep(&keys);
        assert!(unsent.trusts("something else"));
        unsent.keep(&[Debt::Tag(1), key("something else")]);
        assert!(!unsent.trusts("whatever"), "all of it may be stale");
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [key("something else"), Debt::Clear]);
        // Once more while that is on its way.
        unsent.keep(&keys[1..]);
        unsent.acknowledged(&sent, moment);
        assert!(!unsent.trusts("whatever"), "this clear is not sent yet");
        let (sent, moment) = unsent.next(10);
        assert_eq!(sent, [Debt::Clear]);
        assert!(unsent.acknowledged(&sent, moment));
        assert!(unsent.trusts("whatever"));
    }

    #[test]
    fn while_a_tag_is_owed_nothing_is_trusted() {
        let unsent = Unsent::default();
        unsent.keep(&[Debt::Tag(1), key("a")]);
        assert!(!unsent.trusts("b"));
        unsent.acknowledged(&[Debt::Tag(1)], unsent.moment().unwrap());
        assert!(unsent.trusts("b"));
        assert!(!unsent.trusts("a"));
    }
}
