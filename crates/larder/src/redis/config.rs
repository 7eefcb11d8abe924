//! How to reach Redis and how long to wait for it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::{
    breaker::Breaker,
    tls::Certificates,
    url::{Login, Target},
};
use crate::{Clock, Error, ErrorKind, Result, SystemClock};

/// Where Redis is and how patient to be. The default of every setting suits a server in the same data centre.
///
/// | URL | deployment |
/// |---|---|
/// | `redis://host:6379/0`, `rediss://…` | one server; `rediss` is TLS |
/// | `redis-sentinel://s1:26379,s2:26379/mymaster` | a primary found through Sentinel, again at each connect |
/// | `redis-cluster://h1:6379,h2:6379` | Redis Cluster; any few of its nodes |
///
/// `valkey://` works as well, and `user:password@` (percent-encoded) goes before the hosts. The password never
/// appears in `Debug`, errors or logs.
///
/// ```
/// use larder::redis::RedisConfig;
/// use std::time::Duration;
/// let config = RedisConfig::new("redis://app:secret@10.0.0.5/0").deadline(Duration::from_millis(100));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) url: String,
    pub(super) app: String,
    pub(super) deadline: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) probe_interval: Duration,
    pub(super) breaker: Breaker,
    pub(super) certificates: Certificates,
    pub(super) sentinel_login: Login,
    pub(super) require_at_start: bool,
    pub(super) clock: Arc<dyn Clock>,
    runtimes: Vec<Handle>,
}

impl RedisConfig {
    /// Settings for the deployment at `url`. The URL is read by [`Redis::connect`](super::Redis::connect).
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            app: "larder".to_owned(),
            deadline: Duration::from_millis(250),
            connect_deadline: Duration::from_secs(1),
            probe_interval: Duration::from_millis(500),
            breaker: Breaker::default(),
            certificates: Certificates::default(),
            sentinel_login: Login::default(),
            require_at_start: false,
            clock: Arc::new(SystemClock),
            runtimes: Vec::new(),
        }
    }

    /// The name at the front of every key, so that applications can share a server. Default: `larder`.
    #[must_use]
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.app = app.into();
        self
    }

    /// How long one operation may take, from the call to the reply. Default: 250 ms.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one attempt to connect may take, TLS and login included. Default: 1 s.
    #[must_use]
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// How long a connection may be quiet before the server is asked whether it is still there, and still a primary.
    /// The answer has as long again to arrive, so a server that vanished without a word is noticed within twice this.
    /// Default: 500 ms.
    #[must_use]
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.probe_interval = interval;
        self
    }

    /// When to stop calling a primary in trouble; each primary has a breaker of its own. Default: [`Breaker::default`].
    #[must_use]
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// Trusts servers whose certificate this authority (PEM) has signed, and no others. For `rediss` URLs.
    /// Default: the public authorities of the web.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authority = Some(pem.into());
        self
    }

    /// Shows this certificate and proves it with this key (both PEM) to servers that ask for one
    /// (`tls-auth-clients yes`). For `rediss` URLs. Default: none.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.client = Some((certificate.into(), key.into()));
        self
    }

    /// The login for the sentinels themselves, if they ask for one; the one in the URL is for the primary. An empty
    /// user is the default user. Default: none.
    #[must_use]
    pub fn sentinel_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let user = Some(user.into()).filter(|user| !user.is_empty());
        self.sentinel_login = Login { user, password: Some(password.into()) };
        self
    }

    /// Whether [`Redis::connect`](super::Redis::connect) fails if no server answers. Default: no, the handle is made
    /// and keeps trying.
    #[must_use]
    pub fn require_at_start(mut self, required: bool) -> Self {
        self.require_at_start = required;
        self
    }

    /// The clock that the breaker and the latency figures read. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Gives each of these single-threaded runtimes a connection of its own to each primary. What is called on the thread of
    /// one goes over its own connection, which that same thread drives: a call then wakes nobody on another core. For servers
    /// that answer requests on a runtime for each core. All other threads share one connection, and so does a thread whose own
    /// is not there (yet): nothing waits for it. Default: none.
    ///
    /// Own connections are made when the shared one is, and closed with it. If one breaks, all of them are made anew. They
    /// need `INFO` to be allowed, which tells that all lead to the same server; without it there are none. At most 64 threads
    /// of a process have one.
    ///
    /// [`Redis::connect`](super::Redis::connect) refuses runtimes that have several threads.
    ///
    /// ```
    /// use larder::redis::RedisConfig;
    /// use tokio::runtime::Builder;
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = Builder::new_current_thread().enable_all().build()?;
    /// let config = RedisConfig::new("redis://10.0.0.5").runtimes([runtime.handle().clone()]);
    /// # let _ = config;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn runtimes(mut self, runtimes: impl IntoIterator<Item = Handle>) -> Self {
        self.runtimes = runtimes.into_iter().collect();
        self
    }

    /// The runtimes with connections of their own.
    pub(super) fn single_threads(&self) -> Result<Arc<[Handle]>> {
        if self.runtimes.iter().any(|runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread) {
            let what = "a runtime with several threads cannot have a redis connection of its own: \
                        give RedisConfig::runtimes those of Builder::new_current_thread alone";
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(self.runtimes.as_slice().into())
    }

    pub(super) fn target(&self) -> Result<Target> {
        Target::parse(&self.url)
    }
}

impl From<&str> for RedisConfig {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for RedisConfig {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target =
            self.target().map_or_else(|_| "an unreadable URL".to_owned(), |target| target.to_string());
        f.debug_struct("RedisConfig")
            .field("target", &target)
            .field("app", &self.app)
            .field("deadline", &self.deadline)
            .field("connect_deadline", &self.connect_deadline)
            .field("probe_interval", &self.probe_interval)
            .field("breaker", &self.breaker)
            .field("require_at_start", &self.require_at_start)
            .field("runtimes", &self.runtimes.len())
            .finish_non_exhaustive()
    }
}
