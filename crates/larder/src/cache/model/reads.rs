//! A whole cache: readers and writers of one key on several threads.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    thread,
};

use super::in_every_order;
use crate::{
    Cache, FakeClock, Policy,
    cache::ReadOptions,
    sync::{AtomicU64, step},
};

const LONG: Duration = Duration::from_secs(600);

/// A number that only grows, a cache of it, and the number that everybody has been told of.
struct Scene {
    /// For how long the cache keeps what is past its time.
    window: Duration,
    cache: Cache<String, u64>,
    database: AtomicU64,
    told: AtomicU64,
}

impl Scene {
    fn new(window: Duration) -> Arc<Self> {
        let policy = Policy::ttl(LONG).jitter(0.0).stale_while_revalidate(window);
        let builder = Cache::builder("model").policy(policy).clock(FakeClock::default());
        let cache = builder.near_capacity(64).tags(|_, _| vec!["tag".to_owned()]).build();
        let cache = cache.expect("the settings are sound");
        Arc::new(Self { window, cache, database: AtomicU64::new(0), told: AtomicU64::new(0) })
    }

    /// Reads once. What had been told before must be in the answer.
    async fn read(self: &Arc<Self>) {
        let floor = self.told.load(SeqCst);
        let database = self.clone();
        let load = move || async move {
            let number = database.database.load(SeqCst);
            step();
            Ok(Some(number))
        };
        let read = self.cache.read_with("k", &ReadOptions::default(), load).await.expect("a load is sound");
        let number = *read.value.expect("there is a number");
        assert!(read.stale || number >= floor, "read {number} from {:?} after {floor} was told", read.served);
    }

    async fn read_many(self: &Arc<Self>) {
        let floor = self.told.load(SeqCst);
        let database = self.clone();
        let load = move |keys: Vec<String>| {
            let database = database.clone();
            async move {
                let number = database.database.load(SeqCst);
                step();
                Ok(keys.iter().map(|_| Some(number)).collect())
            }
        };
        let read = self.cache.get_many_with(&["k".to_owned()], load).await.expect("a load is sound");
        let number = *read[0].clone().expect("there is a number");
        // What is stale is not marked in a batch.
        let may_be_stale = !self.window.is_zero();
        assert!(may_be_stale || number >= floor, "read {number} in a batch after {floor} was told");
    }

    fn grow(&self) -> u64 {
        self.database.fetch_add(1, SeqCst) + 1
    }
}

/// Two readers, one of them by a batch, and two writers, each as `write` does it.
fn beside_readers<W: Future<Output = u64> + 'static>(window: Duration, write: fn(Arc<Scene>) -> W) {
    let scene = Scene::new(window);
    let mut threads = Vec::new();
    for _ in 0..2 {
        let scene = scene.clone();
        threads.push(thread::spawn(move || {
            let number = block_on(write(scene.clone()));
            scene.told.fetch_max(number, SeqCst);
        }));
    }
    let reader = scene.clone();
    threads.push(thread::spawn(move || {
        block_on(reader.read_many());
        block_on(reader.read());
    }));
    for _ in 0..2 {
        block_on(scene.read());
    }
    threads.into_iter().for_each(|thread| thread.join().expect("a thread ends well"));
    block_on(scene.read());
    block_on(scene.cache.close());
}

#[test]
fn in_no_order_of_events_does_a_reader_miss_an_invalidation_that_returned() {
    in_every_order(|| {
        beside_readers(Duration::ZERO, |scene| async move {
            let number = scene.grow();
            scene.cache.invalidate("k").await.expect("this process is alone");
            number
        });
    });
}

#[test]
fn in_no_order_of_events_does_a_reader_miss_a_purge_that_returned() {
    in_every_order(|| {
        beside_readers(Duration::ZERO, |scene| async move {
            let number = scene.grow();
            match thread_rng().gen_bool(0.7) {
                true => scene.cache.invalidate_tag("tag").await,
                false => scene.cache.clear().await,
            }
            .expect("this process is alone");
            number
        });
    });
}

#[test]
fn in_no_order_of_events_does_a_reader_miss_what_was_written_through() {
    in_every_order(|| {
        beside_readers(Duration::ZERO, |scene| async move {
            let (written, writer) = (Cell::new(0), scene.clone());
            let write = async {
                written.set(writer.grow());
                step();
                Ok(Some(written.get()))
            };
            if thread_rng().gen_bool(0.7) {
                scene.cache.put_with(&"k".to_owned(), write).await.expect("this process is alone");
            } else {
                let (_, told) = scene.cache.guarded_write(&["k"], write).await.expect("the write is sound");
                told.expect("this process is alone");
            }
            written.get()
        });
    });
}

#[test]
fn in_no_order_of_events_is_a_value_served_as_fresh_that_was_made_stale() {
    in_every_order(|| {
        beside_readers(LONG, |scene| async move {
            let number = scene.grow();
            scene.cache.expire(&["k"]).await.expect("this process is alone");
            number
        });
    });
}
