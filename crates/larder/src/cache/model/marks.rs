//! What a node knows of purges and epochs, while several threads ask, listen and follow.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

use super::{in_every_order, in_more_orders};
use crate::{
    cache::{
        coherence::{Coherence, Position, Stamp},
        tag::{Mark, Tag, TagStamp},
    },
    sync::{AtomicU64, Mutex},
};

const TAG: u64 = 7;
/// Where the first epoch stands: far ahead of all that the second one comes to.
const FIRST: Position = Position { epoch: 1, seq: 10 };

/// Several threads, each doing one thing once.
fn at_once<const N: usize>(threads: [Box<dyn FnOnce() + Send>; N]) {
    let threads = threads.map(|thread| thread::spawn(thread));
    threads.into_iter().for_each(|thread| thread.join().expect("a thread ends well"));
}

#[test]
fn a_position_has_no_number_of_an_earlier_epoch() {
    in_every_order(|| {
        let coherence = Arc::new(Coherence::of_shards(1));
        coherence.begin(0, FIRST, 0);
        let (follower, reader) = (coherence.clone(), coherence);
        at_once([
            Box::new(move || follower.begin(0, Position { epoch: 2, seq: 1 }, 0)),
            Box::new(move || {
                let at = reader.position(0);
                assert!(at.epoch != 2 || at.seq <= 1, "a number of the epoch before: {at:?}");
            }),
        ]);
    });
}

#[test]
fn what_was_cleared_in_an_epoch_is_not_served_while_the_next_one_begins() {
    in_every_order(|| {
        let coherence = Arc::new(Coherence::of_shards(1));
        coherence.begin(0, FIRST, 0);
        coherence.clear(0, Position { seq: 9, ..FIRST });
        let (follower, reader) = (coherence.clone(), coherence);
        at_once([
            Box::new(move || follower.begin(0, Position { epoch: 2, seq: 1 }, 0)),
            Box::new(move || {
                let stamp = reader.basis("k").stamp;
                let is_served = reader.is_after_clear(0, Position { seq: 5, ..FIRST });
                assert!(!is_served || !reader.is_current(&stamp), "it was stored before the clear");
            }),
        ]);
    });
}

/// Redis, as far as a tag is concerned: a step of this is one of its scripts.
struct Redis {
    at: Position,
    mark: Mark,
}

struct Copy {
    number: u64,
    stamp: Stamp,
    tag: TagStamp,
}

/// One node with one tagged key, whose number only grows.
struct Scene {
    coherence: Coherence,
    redis: Mutex<Redis>,
    following: Mutex<()>,
    near: Mutex<Option<Copy>>,
    database: AtomicU64,
    told: AtomicU64,
}

impl Scene {
    fn new() -> Arc<Self> {
        let scene = Self {
            coherence: Coherence::of_shards(1),
            redis: Mutex::new(Redis { at: FIRST, mark: Mark { seq: 0, token: 1 } }),
            following: Mutex::new(()),
            near: Mutex::new(None),
            database: AtomicU64::new(0),
            told: AtomicU64::new(0),
        };
        scene.coherence.begin(0, FIRST, 0);
        Arc::new(scene)
    }

    /// Loads, and keeps a copy that Redis does not have.
    fn load(&self) {
        let basis = self.coherence.basis("k");
        let number = self.database.load(SeqCst);
        let cell = self.coherence.tag(0, TAG).unwrap_or_else(|| {
            let cell = self.coherence.watch_tag(0, TAG);
            let (mark, at) = {
                let redis = self.redis.lock();
                (redis.mark, redis.at)
            };
            self.coherence.resolve_tag(0, TAG, &cell, mark, at);
            cell
        });
        let tag = self.coherence.tag_at(0, &cell, TAG, basis.at);
        let tag = self.coherence.stamp_tag(0, cell, tag, basis.at);
        *self.near.lock() = Some(Copy { number, stamp: basis.stamp, tag });
    }

    fn read(&self) {
        let floor = self.told.load(SeqCst);
        if let Some(copy) = &*self.near.lock()
            && self.coherence.is_current(&copy.stamp)
            && copy.tag.is_current()
        {
            assert!(copy.number >= floor, "a copy of {} after {floor} was told", copy.number);
        }
    }

    /// Writes and purges, as `Inner::act` does it.
    fn purge(&self) {
        let number = self.database.fetch_add(1, SeqCst) + 1;
        let (at, tag) = {
            let mut redis = self.redis.lock();
            redis.at.seq += 1;
            // No two purges have one.
            let token = 10 + number;
            redis.mark = Mark { seq: redis.at.seq, token };
            (redis.at, Tag { hash: TAG, token })
        };
        self.coherence.purge_tag(0, tag, at);
        if self.coherence.position(0).epoch != at.epoch {
            self.follow();
        }
        self.told.fetch_max(number, SeqCst);
    }

    /// Looks where Redis stands, as `Follower::sync` does it.
    fn follow(&self) {
        let _one_at_a_time = self.following.lock();
        let at = self.redis.lock().at;
        if at.epoch != self.coherence.position(0).epoch {
            self.coherence.begin(0, at, 0);
        }
    }

    /// Redis loses its memory, and somebody has noticed.
    fn lose(&self) {
        *self.redis.lock() = Redis { at: Position { epoch: 2, seq: 0 }, mark: Mark { seq: 0, token: 2 } };
        self.follow();
    }
}

#[test]
fn no_copy_outlives_the_purge_of_its_tag_also_when_the_epoch_changes() {
    in_more_orders(5, || {
        let scene = Scene::new();
        let loses = thread_rng().gen_bool(0.5);
        let run = |what: fn(&Scene)| {
            let scene = scene.clone();
            Box::new(move || what(&scene)) as Box<dyn FnOnce() + Send>
        };
        at_once([
            run(Scene::purge),
            run(if loses { Scene::lose } else { Scene::purge }),
            run(|scene| {
                scene.load();
                scene.read();
            }),
            run(|scene| {
                scene.read();
                scene.read();
            }),
        ]);
        scene.read();
    });
}
