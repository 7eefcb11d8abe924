//! The backends that every cache test runs over, and what their tests share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{
    Cache, FakeClock, Policy, Result,
    cache::CacheBuilder,
    redis::{Breaker, Redis, RedisConfig},
};
use tokio::sync::Semaphore;

pub(crate) const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a cache lives in one run of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Redis,
    Cluster,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Cluster];
    pub(crate) const SHARED: [Self; 2] = [Self::Redis, Self::Cluster];

    /// Where the servers are that all tests share.
    pub(crate) fn url(self) -> Option<String> {
        match self {
            Self::Memory => None,
            Self::Redis => Some(larder_testkit::redis::single()),
            Self::Cluster => Some(larder_testkit::redis::cluster()),
        }
    }

    /// A handle of its own for each node, as separate processes would have.
    pub(crate) async fn connect(self) -> Option<Redis> {
        let url = self.url()?;
        // All tests share it: a call that is late because of the others is not one that the test is about.
        let breaker = Breaker::default().slow_call(10 * PATIENCE);
        let config = RedisConfig::new(url).deadline(PATIENCE).breaker(breaker);
        Some(Redis::connect(config).await.expect("the test server is up"))
    }
}

/// One or more nodes with the same cache, under a name that no other test uses.
pub(crate) struct Setup {
    pub(crate) backend: Backend,
    pub(crate) name: String,
    pub(crate) clock: FakeClock,
}

impl Setup {
    pub(crate) fn new(backend: Backend) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self { backend, name, clock: FakeClock::default() }
    }

    pub(crate) async fn builder(&self, policy: Policy) -> CacheBuilder<String, u64> {
        let builder = Cache::builder(&*self.name).policy(policy).clock(self.clock.clone());
        match self.backend.connect().await {
            Some(redis) => builder.redis(&redis),
            None => builder,
        }
    }

    pub(crate) async fn node(&self, policy: Policy) -> Cache<String, u64> {
        self.builder(policy).await.build().expect("the policy is sound")
    }
}

/// A policy whose entries outlive every test.
pub(crate) fn lasting() -> Policy {
    Policy::ttl(LONG).jitter(0.0)
}

/// Makes a user of a server who can do everything but hear what others announce.
pub(crate) const DEAFEN: [&str; 9] =
    ["ACL", "SETUSER", "deaf", "on", ">secret", "~*", "&*", "+@all", "-ssubscribe"];

/// The URL of the same servers for that user.
pub(crate) fn deaf(url: &str) -> String {
    url.replace("://", "://deaf:secret@")
}

/// A database of one number, whose reads can be held up: a read takes the number first and answers when it is let go.
#[derive(Clone)]
pub(crate) struct Origin {
    number: Arc<AtomicU64>,
    reads: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Origin {
    pub(crate) fn open(number: u64) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { number: Arc::new(number.into()), reads: Arc::default(), gate }
    }

    /// Reads wait until they are let go.
    pub(crate) fn held(number: u64) -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::open(number) }
    }

    pub(crate) fn let_go(&self, reads: usize) {
        self.gate.add_permits(reads);
    }

    pub(crate) fn write(&self, number: u64) {
        self.number.store(number, Ordering::SeqCst);
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    pub(crate) async fn until_reading(&self, reads: usize) {
        larder_testkit::eventually("the load has begun", Duration::from_secs(10), || async {
            self.reads() >= reads
        })
        .await;
    }

    pub(crate) fn read(&self) -> impl Future<Output = Result<Option<u64>>> + Send + 'static {
        let origin = self.clone();
        async move {
            let number = origin.number.load(Ordering::SeqCst);
            origin.reads.fetch_add(1, Ordering::SeqCst);
            origin.gate.acquire().await.expect("the gate is never closed").forget();
            Ok(Some(number))
        }
    }

    /// A loader for one read.
    pub(crate) fn loader(&self) -> impl FnOnce() -> LoadOne + Send + 'static {
        let origin = self.clone();
        move || Box::pin(origin.read())
    }
}

pub(crate) type LoadOne = std::pin::Pin<Box<dyn Future<Output = Result<Option<u64>>> + Send>>;

impl Setup {
    /// Makes whatever stands in the key's slot disappear, as an expiry or an eviction does.
    pub(crate) async fn expire(&self, key: &str) {
        let node = self.node(lasting()).await;
        let slot = node.explain(&key.to_owned()).await.slot_key.expect("there is a Redis");
        self.ask(&["DEL", &slot]);
    }

    /// Sends a command to the server that owns the key in its second word.
    pub(crate) fn ask(&self, command: &[&str]) -> larder_testkit::redis::Reply {
        let url = self.backend.url().expect("there is a server to ask");
        larder_testkit::redis::ask(&url, command)
    }
}
