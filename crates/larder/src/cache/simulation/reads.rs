//! What the readers of the simulation do: one key, or several at once.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    KEYS,
    check::{Begun, Checker},
    node::{name, number_of},
};
use crate::{Cache, Error, ErrorKind, Result, cache::ReadOptions, redis::simulated::World};

/// One reader, and what is on the way to its database.
pub(super) struct Reader {
    pub(super) world: World,
    pub(super) checker: Arc<Checker>,
    pub(super) cache: Cache<String, u64>,
    pub(super) node: usize,
}

/// How one call of the database goes.
#[derive(Clone, Copy)]
struct Answer {
    pause: Duration,
    fails: bool,
}

impl Reader {
    pub(super) async fn read_on_and_on(self) {
        loop {
            sleep(self.world.pause(Duration::from_millis(12))).await;
            let answer = self.answer();
            let key = self.world.pick(KEYS);
            match self.world.pick(4) {
                0 => self.read_many(key, answer).await,
                _ => self.read_one(key, answer).await,
            }
        }
    }

    /// Now and then the database is slow, and one that may fail does.
    fn answer(&self) -> Answer {
        let at_most_ms = match self.world.pick(12) {
            0 => 1_200,
            // About as long as a walk through all keys.
            1 | 2 => 80,
            _ => 8,
        };
        let pause = self.world.pause(Duration::from_millis(at_most_ms));
        let fails = self.world.pick(4) == 0 && self.checker.may_fail();
        Answer { pause, fails }
    }

    fn begin(&self) -> Begun {
        Begun { node: self.node, at_ms: self.world.now_ms() }
    }

    async fn read_one(&self, key: usize, answer: Answer) {
        let (begun, database) = (self.begin(), self.checker.clone());
        let load = move || async move {
            let number = database.number(key);
            answer.with(Some(number)).await
        };
        if let Ok(read) = self.cache.read_with(&*name(key), &ReadOptions::default(), load).await {
            self.checker.has_read(key, begun, &read);
        }
    }

    /// Reads the key and the two after it at once.
    async fn read_many(&self, key: usize, answer: Answer) {
        let (begun, database) = (self.begin(), self.checker.clone());
        let load = move |names: Vec<String>| {
            let numbers = names.iter().map(|name| Some(database.number(number_of(name)))).collect();
            answer.with(numbers)
        };
        let keys = [key, (key + 1) % KEYS, (key + 2) % KEYS];
        let read = self.cache.read_many_with(&keys.map(name), &ReadOptions::default(), load).await;
        for (key, read) in keys.into_iter().zip(read.into_iter().flatten()) {
            self.checker.has_read(key, begun, &read);
        }
    }
}

impl Answer {
    async fn with<T>(self, found: T) -> Result<T> {
        sleep(self.pause).await;
        match self.fails {
            true => Err(Error::new(ErrorKind::Unavailable, "no way to the database")),
            false => Ok(found),
        }
    }
}
