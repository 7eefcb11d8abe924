//! What the writers of the simulation do: let numbers grow, and have every node forget what it has of them, or know that it is
//! stale.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    KEYS,
    check::{Checker, Holds, Promise, Written},
    node::{name, tag_of},
};
use crate::{Cache, Result, redis::simulated::World};

/// How often a purge that did not reach everything is called.
const WALKS: usize = 3;

pub(super) struct Writer {
    pub(super) world: World,
    pub(super) checker: Arc<Checker>,
    pub(super) cache: Cache<String, u64>,
    pub(super) node: usize,
    /// The most time between two writes.
    pub(super) at_most: Duration,
}

impl Writer {
    pub(super) async fn write_on_and_on(self) {
        loop {
            sleep(self.world.pause(self.at_most)).await;
            let key = self.world.pick(KEYS);
            let written = match self.world.pick(20) {
                0 => self.purge_tag(key).await,
                1 => self.clear().await,
                2 | 3 => self.purge_pattern(key).await,
                4..8 => self.expire(key).await,
                8 | 9 => self.expire_tag(key).await,
                10 => self.expire_pattern(key).await,
                kind @ 11..15 => self.write(key, kind % 2 == 0).await,
                _ => self.invalidate(key).await,
            };
            self.checker.returned(&written, self.node);
        }
    }

    fn grow(&self, keys: impl IntoIterator<Item = usize>) -> Vec<(usize, u64)> {
        keys.into_iter().map(|key| (key, self.checker.grow(key))).collect()
    }

    async fn invalidate(&self, key: usize) -> Written {
        Written::gone(self.grow([key]), &self.cache.invalidate(&*name(key)).await)
    }

    async fn purge_tag(&self, key: usize) -> Written {
        let (tag, keys) = tagged(key);
        Written::gone(self.grow(keys), &self.cache.invalidate_tag(&tag).await)
    }

    async fn clear(&self) -> Written {
        Written::gone(self.grow(0..KEYS), &self.cache.clear().await)
    }

    /// Through the cache, or guarded.
    async fn write(&self, key: usize, through: bool) -> Written {
        let pause = self.world.pause(Duration::from_millis(20));
        let written = Mutex::new(Vec::new());
        let write = async {
            sleep(pause).await;
            let grown = self.grow([key]);
            let number = grown[0].1;
            *written.lock() = grown;
            sleep(pause).await;
            Ok(Some(number))
        };
        let told = match through {
            true => self.cache.put_with(&name(key), write).await.map(drop),
            false => {
                self.cache.guarded_write(&[&*name(key)], write).await.and_then(|(_, told)| told.map(drop))
            }
        };
        Written::gone(written.into_inner(), &told)
    }

    async fn purge_pattern(&self, key: usize) -> Written {
        let (pattern, keys) = self.pattern(key);
        let numbers = self.grow(keys);
        let holds = walked(|| self.cache.invalidate_pattern(&pattern)).await;
        Written { numbers, promise: Promise::Gone, holds }
    }

    /// Two keys, which may be the same.
    async fn expire(&self, key: usize) -> Written {
        let keys = [key, self.world.pick(KEYS)];
        let numbers = self.grow(keys);
        let [one, other] = keys.map(name);
        let holds = Holds::of(&self.cache.expire(&[&*one, &*other]).await);
        Written { numbers, promise: Promise::Stale, holds }
    }

    async fn expire_tag(&self, key: usize) -> Written {
        let (tag, keys) = tagged(key);
        let (tags, numbers) = ([&*tag], self.grow(keys));
        let holds = walked(|| self.cache.expire_tags(&tags)).await;
        Written { numbers, promise: Promise::Stale, holds }
    }

    async fn expire_pattern(&self, key: usize) -> Written {
        let (pattern, keys) = self.pattern(key);
        let numbers = self.grow(keys);
        let holds = walked(|| self.cache.expire_pattern(&pattern)).await;
        Written { numbers, promise: Promise::Stale, holds }
    }

    /// One that takes this key, and all that it takes.
    fn pattern(&self, key: usize) -> (String, Vec<usize>) {
        let other = self.world.pick(KEYS);
        match self.world.pick(4) {
            0 => ("*".to_owned(), (0..KEYS).collect()),
            1 => (format!("k[^{other}]"), (0..KEYS).filter(|it| *it != other).collect()),
            2 => (format!("?[{key}{other}]"), vec![key, other]),
            _ => (format!("*{key}"), vec![key]),
        }
    }
}

impl Written {
    fn gone<T>(numbers: Vec<(usize, u64)>, told: &Result<T>) -> Self {
        Self { numbers, promise: Promise::Gone, holds: Holds::of(told) }
    }
}

impl Holds {
    /// Of an invalidation that is kept until Redis acknowledges it.
    fn of<T>(told: &Result<T>) -> Self {
        if told.is_ok() { Self::Everywhere } else { Self::Here }
    }
}

/// The tag of the key, and all keys that have it.
fn tagged(key: usize) -> (String, Vec<usize>) {
    let tag = tag_of(&name(key));
    let keys = (0..KEYS).filter(|it| tag_of(&name(*it)) == tag).collect();
    (tag, keys)
}

/// A walk that does not come to its end promises nothing, and is to be begun again.
async fn walked<W: Future<Output = Result<u64>>>(walk: impl Fn() -> W) -> Holds {
    for _ in 0..WALKS {
        if walk().await.is_ok() {
            return Holds::Everywhere;
        }
    }
    Holds::Nowhere
}
