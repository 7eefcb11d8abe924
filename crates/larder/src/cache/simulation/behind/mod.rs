//! Write-behind in simulated time: nodes crash, owners are paused past their lease, and the database is told late, twice, or
//! without an answer, and refuses some writes, which are handed in again or given up. Another program changes rows that have arrived, and
//! tells a node. What was acknowledged is there in the end, and nobody reads behind it meanwhile.

mod disk;
mod promises;

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{disk::Disk, promises::Promises};
use super::{
    BOUND, CALM, LASTS, NODES, in_simulated_time,
    node::{builder_of, name, tag_of},
};
use crate::{
    Cache, ErrorKind,
    cache::{Behind, Consistency, MissReason, ReadOptions, Served, WriteBehind},
    redis::simulated::{Fault, World},
};

/// Each is written by one writer at a time, and no more once it is unknown what became of a write.
const KEYS: usize = 24;
/// Redis keeps what it has acknowledged; what it loses is lost.
pub(super) const FAULTS: [Fault; 5] =
    [Fault::Silence, Fault::LostReplies, Fault::LostMessages, Fault::Cut, Fault::Freeze];
const LEASE: Duration = Duration::from_millis(300);
/// In simulated time, with nothing in the way.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The world, and what all nodes have in common there.
#[derive(Clone)]
struct Scene {
    world: World,
    disk: Disk,
    promises: Arc<Promises>,
    consistency: Consistency,
}

/// One history. What it says if it fails: the first promise that was broken.
pub(super) fn history(seed: u64, faults: &[Fault]) -> Result<u64, String> {
    in_simulated_time(seed, async {
        let world = World::new(seed, NODES);
        let consistency =
            if seed.is_multiple_of(2) { Consistency::Bounded(BOUND) } else { Consistency::Strict(BOUND) };
        let promises = Arc::new(Promises::new(world.clone(), BOUND));
        let scene = Scene { disk: Disk::new(world.clone(), LEASE), world, promises, consistency };
        let mut nodes: Vec<JoinSet<()>> = (0..NODES).map(|node| scene.start(node)).collect();
        let end_ms = scene.world.now_ms() + LASTS.as_millis() as u64;
        while scene.world.now_ms() < end_ms && scene.promises.are_kept() {
            sleep(scene.world.pause(CALM)).await;
            let fault = FAULTS[scene.world.pick(FAULTS.len())];
            let (crashes, node) = (scene.world.pick(4) == 0, scene.world.pick(NODES));
            if crashes {
                scene.promises.journal.note(&format!("node {node} crashes"));
                nodes[node] = scene.start(node);
            } else if faults.contains(&fault) {
                scene.promises.journal.note(&format!("{fault:?}"));
                scene.world.disturb(fault);
            }
        }
        drop(nodes);
        scene.judge().await
    })
}

impl Scene {
    fn cache(&self, node: usize) -> Cache<String, u64> {
        let settings = WriteBehind::default().lease(LEASE).apply_deadline(LEASE * 4).max_batch(3).backlog(8);
        let settings = settings.max_delay(Duration::from_millis(10)).attempts(2);
        let settings = settings.retry_pause(Duration::from_millis(5), Duration::from_millis(50));
        let builder = builder_of(&self.world, node, self.consistency).sink(self.disk.clone());
        builder.write_behind(settings).build().expect("the settings are sound")
    }

    /// A new process in the place of this node. It ends, wherever it is, when what is returned is dropped.
    fn start(&self, node: usize) -> JoinSet<()> {
        let (cache, mut tasks) = (self.cache(node), JoinSet::new());
        tasks.spawn(self.clone().replay_on_and_on(cache.clone()));
        tasks.spawn(self.clone().write_past_on_and_on(cache.clone()));
        for _ in 0..2 {
            tasks.spawn(self.clone().read_on_and_on(node, cache.clone()));
            tasks.spawn(self.clone().write_on_and_on(node, cache.clone()));
        }
        tasks
    }

    async fn write_on_and_on(self, node: usize, cache: Cache<String, u64>) {
        loop {
            sleep(self.world.pause(Duration::from_millis(40))).await;
            let (key, removes) = (self.world.pick(KEYS), self.world.pick(6) == 0);
            let Some(number) = self.promises.begin(key, removes) else { continue };
            let put = match removes {
                true => cache.remove(&name(key)).await,
                false => cache.put(&name(key), &number).await,
            };
            match put.map_err(|error| error.kind()) {
                Ok(()) => self.promises.acknowledged(key, node),
                Err(ErrorKind::Unavailable | ErrorKind::Full) => self.promises.refused(key),
                // Nobody knows what became of it, or it is pending.
                Err(_) => {}
            }
        }
    }

    /// What another program writes as soon as the database has what was acknowledged, whether Redis knows that or not. It is read by all
    /// when both have come through.
    async fn write_past_on_and_on(self, cache: Cache<String, u64>) {
        let behind = cache.behind().expect("it writes behind");
        loop {
            sleep(self.world.pause(Duration::from_millis(10))).await;
            let newest = self.disk.newest();
            let Some(key) = (0..KEYS).find(|key| name(*key) == newest) else { continue };
            let row = self.disk.row(&newest);
            if row.is_none() || row != self.promises.left(key) {
                continue;
            }
            let Some(number) = self.promises.begin(key, false) else { continue };
            self.promises.goes_past(key);
            self.disk.write_past(&newest, number);
            let told = match self.world.pick(5) {
                0 => cache.invalidate_tag(&tag_of(&newest)).await.map(drop),
                1 => cache.clear().await.map(drop),
                2 => cache.invalidate_pattern(&newest).await.map(drop),
                _ => cache.invalidate(&*newest).await.map(drop),
            };
            if told.is_ok() && flushed(behind).await.is_ok() {
                self.promises.acknowledged(key, NODES);
            }
        }
    }

    /// Hands in again what was refused, whatever is written meanwhile.
    async fn replay_on_and_on(self, cache: Cache<String, u64>) {
        let behind = cache.behind().expect("it writes behind");
        loop {
            sleep(self.world.pause(Duration::from_millis(60))).await;
            // Only what was acknowledged is promised: whether this was, nobody asks.
            let _ = behind.replay(&name(self.world.pick(KEYS))).await;
        }
    }

    async fn read_on_and_on(self, node: usize, cache: Cache<String, u64>) {
        loop {
            sleep(self.world.pause(Duration::from_millis(12))).await;
            let key = self.world.pick(KEYS);
            let begun_ms = self.world.now_ms();
            let read = self.read(key, &cache).await;
            if let Some((number, from)) = read {
                self.promises.has_read(key, node, begun_ms, number, &from);
            }
        }
    }

    /// What is read and from where; `None` if Redis could not be asked, since then the database answers for itself.
    async fn read(&self, key: usize, cache: &Cache<String, u64>) -> Option<(Option<u64>, String)> {
        let disk = self.disk.clone();
        let load = move || async move { Ok(disk.load(&name(key)).await) };
        let read = cache.read_with(&*name(key), &ReadOptions::default(), load).await.ok()?;
        if read.served == Served::Source && read.reason == Some(MissReason::Error) {
            return None;
        }
        Some((read.value.as_deref().copied(), format!("{:?} {:?}", read.served, read.reason)))
    }

    /// All troubles are over, and all processes are new.
    async fn judge(&self) -> Result<u64, String> {
        let reads = self.promises.verdict()?;
        sleep(Duration::from_secs(2)).await;
        let caches: Vec<_> = (0..NODES).map(|node| self.cache(node)).collect();
        let behind = caches[0].behind().expect("it writes behind").clone();
        // Otherwise what finds no room among the dead letters would be tried for ever.
        self.disk.accept();
        flushed(&behind).await?;
        sleep(BOUND * 2).await;
        let given_up = self.decide(&caches[0]).await?;
        flushed(&behind).await?;
        sleep(BOUND * 2).await;
        for key in 0..KEYS {
            let found = self.disk.row(&name(key));
            if !given_up.contains(&name(key)) {
                self.promises.ended_as(key, found)?;
            }
            for (node, cache) in caches.iter().enumerate() {
                match self.read(key, cache).await {
                    Some((read, from)) if read != found && !self.promises.is_untold(key) => {
                        return Err(format!(
                            "{key} is {found:?}, and node {node} reads {read:?} from {from}"
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(reads)
    }

    /// Every dead letter holds what was acknowledged last. One half is handed in again; the keys of the other are returned, which are
    /// given up.
    async fn decide(&self, cache: &Cache<String, u64>) -> Result<Vec<String>, String> {
        let behind = cache.behind().expect("it writes behind");
        let mut given_up = Vec::new();
        for letter in until_answered(|| behind.dead_letters(KEYS)).await? {
            let key = (0..KEYS).find(|key| name(*key) == letter.key).ok_or("a letter of no key")?;
            if let Some((read, _)) = self.read(key, cache).await {
                self.promises.ended_as(key, read)?;
            }
            if self.world.pick(2) == 0 {
                until_answered(|| behind.replay(&letter.key)).await?;
            } else {
                until_answered(|| behind.discard(&letter.key)).await?;
                given_up.push(letter.key);
            }
        }
        Ok(given_up)
    }
}

async fn flushed(behind: &Behind) -> Result<(), String> {
    until_answered(|| behind.flush()).await
}

/// Asks again while Redis does not answer.
async fn until_answered<T, F: Future<Output = crate::Result<T>>>(ask: impl Fn() -> F) -> Result<T, String> {
    let answered = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(ANSWERED_WITHIN, answered)
        .await
        .map_err(|_| "the sink never had everything, or Redis fell silent".to_owned())
}
