//! The connection to Redis: one that always comes back, and never makes a caller wait past its deadline.
//!
//! A [`Redis`] handle is made once and cloned everywhere. Behind it one multiplexed RESP3 connection to each primary is
//! kept by a task of its own, which connects again with backoff and jitter, asks a silent server for a sign of life, and
//! finds a new primary after a failover.
//!
//! # When Redis is down
//! Every call fails at once with [`Unavailable`](crate::ErrorKind::Unavailable); none waits for a connection. A server
//! that accepts and does not answer costs a call its [deadline](RedisConfig::deadline) and no more. Within two seconds
//! of the server's return calls succeed again.

mod backoff;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "what waits for work in Redis is to read with it; the log wakes its readers by messages"
    )
)]
mod blocking;
mod breaker;
mod caller;
mod cluster;
mod config;
mod dial;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gather;
mod greet;
mod key;
mod lane;
mod line;
mod link;
mod login;
mod mover;
mod probe;
mod push;
mod race;
mod reply;
mod script;
mod sentinel;
#[cfg(test)]
pub(crate) mod simulated;
mod slot;
mod split;
mod stats;
mod supervisor;
#[cfg(test)]
mod tests;
mod tls;
mod topology;
mod url;
mod walk;
mod wire;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ::redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

pub use self::{
    breaker::{Breaker, BreakerState},
    config::RedisConfig,
    key::MAX_KEY_BYTES,
    probe::{DeploymentMode, PrimaryProbe, ServerProbe},
    push::{Channel, PushEvent, Subscriber},
    stats::{PrimaryStatus, RedisStats},
};
use self::{
    dial::Dialer,
    error::from_reply,
    link::{Link, LinkSettings},
    push::Ears,
    script::keys_of,
    slot::same_slot,
    stats::Counters,
    topology::Topology,
    url::Target,
};
pub(crate) use self::{
    key::{DEFAULT_SHARDS, Kind, Space, check_key},
    script::Script,
    walk::Walk,
};
use crate::{Clock, ErrorKind, Result};

/// A handle to a Redis deployment. Cheap to clone; all clones share the connections.
///
/// Dropping the last clone (and the last subscriber) closes them. Must be made and used inside a Tokio runtime.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    app: String,
    target: Target,
    ears: Ears,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

impl Redis {
    /// Makes a handle and waits for the first attempt to connect to end, at most the
    /// [connect deadline](RedisConfig::connect_deadline).
    ///
    /// If nothing answers, the handle is made all the same and keeps trying, unless
    /// [`require_at_start`](RedisConfig::require_at_start) is set.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> larder::Result<()> {
    /// let redis = larder::redis::Redis::connect("redis://127.0.0.1:6379").await?;
    /// assert!(redis.is_available());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Config` for a URL that cannot be read, a refused login, or a server older than Redis 7.0; `Unavailable` only if
    /// the server is required at start and away.
    pub async fn connect(config: impl Into<RedisConfig>) -> Result<Self> {
        let config = config.into();
        let target = config.target()?;
        let counters = Arc::new(Counters::default());
        let dialer = Dialer::new(target.clone(), &config)?;
        let settings = LinkSettings {
            dialer: dialer.clone(),
            probe_interval: config.probe_interval,
            runtimes: config.single_threads()?,
            breaker: config.breaker,
            clock: Arc::clone(&config.clock),
            counters: Arc::clone(&counters),
        };
        let topology = Arc::new(Topology::start(target.mode.clone(), settings));
        let ears = Ears { topology: Arc::clone(&topology), dialer, probe_interval: config.probe_interval };
        match topology.first_attempt().await? {
            Some(trouble) if config.require_at_start || trouble.kind() == ErrorKind::Config => Err(trouble),
            _ => {
                let inner = Inner { app: config.app, target, ears, counters, clock: config.clock };
                Ok(Self { inner: Arc::new(inner), deadline: config.deadline })
            }
        }
    }

    /// A handle over the same connections whose operations may take `deadline` each.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), deadline }
    }

    /// Whether there is a connection to every primary right now. Costs no round trip, so a server that died this
    /// instant still counts.
    pub fn is_available(&self) -> bool {
        self.inner.ears.topology.is_up()
    }

    /// Where each primary is and how it does. Costs no round trip.
    pub fn primaries(&self) -> Vec<PrimaryStatus> {
        let status = |link: &Arc<Link>| PrimaryStatus {
            address: link.address().map(|address| address.to_string()),
            connected: link.is_up(),
            breaker: link.breaker(),
        };
        self.inner.ears.topology.links().iter().map(status).collect()
    }

    /// What the breakers let through: the worst of all primaries.
    pub fn breaker(&self) -> BreakerState {
        self.inner.ears.topology.breaker()
    }

    /// A number that moves whenever a new connection is made, or a cluster has another primary, before anything is sent
    /// there. While it stays the same and calls succeed, nothing sent or pushed on the connection was lost, and the server is
    /// the one that it was.
    pub fn generation(&self) -> u64 {
        let counters = &self.inner.counters;
        counters.connects.load(Ordering::Acquire) + counters.takeovers.load(Ordering::Acquire)
    }

    /// Asks every primary for a sign of life, one round trip each, all within one deadline.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout`.
    pub async fn ping(&self) -> Result<()> {
        for reply in self.inner.ears.topology.ping(self.deadline).await? {
            self.inner.outcome(reply)?;
        }
        Ok(())
    }

    /// Asks every primary what it is and how it is set up. One round trip each, each within the deadline.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if a primary does not answer. What a user may not ask is left out instead.
    pub async fn probe(&self) -> Result<ServerProbe> {
        let mut primaries = Vec::new();
        for link in self.inner.ears.topology.links() {
            primaries.push(probe::probe(&link, self.deadline, &*self.inner.clock).await?);
        }
        Ok(ServerProbe { mode: DeploymentMode::from(&self.inner.target.mode), primaries })
    }

    /// Follows sharded channels (`SSUBSCRIBE`), on connections apart from the one for calls. Returns at once; the first
    /// event of each channel is [`Subscribed`](PushEvent::Subscribed). In a cluster the slot of a channel's name decides
    /// which primary carries it.
    pub fn subscribe<C: Into<Channel>>(&self, channels: impl IntoIterator<Item = C>) -> Subscriber {
        let channels = channels.into_iter().map(Into::into).collect();
        #[cfg(test)]
        if let Topology::Simulated(wire) = &*self.inner.ears.topology {
            return wire.subscribe(channels);
        }
        push::subscribe(self.inner.ears.clone(), channels)
    }

    /// What went over the wire so far.
    pub fn stats(&self) -> RedisStats {
        self.inner.counters.read()
    }

    /// The name at the front of every key.
    pub(crate) fn app(&self) -> &str {
        &self.inner.app
    }

    /// Sends `cmd` to the primary that owns `slot_key`. One round trip; two if a cluster has just moved the slot.
    ///
    /// # Errors
    /// `Unavailable` at once without a connection, `Timeout` (outcome unknown) past the deadline, else the server's
    /// refusal by its kind.
    pub(crate) async fn command(&self, slot_key: &[u8], cmd: &Cmd) -> Result<Value> {
        debug_assert!(same_slot(slot_key, keys_of(cmd)).is_ok(), "keys outside the slot of the command");
        self.inner.outcome(self.inner.ears.topology.command(slot_key, cmd, self.deadline).await?)
    }

    /// Sends `cmds` in one write to the primary that owns `slot_key`, and returns the outcome of each in order.
    /// One round trip; two if the server had forgotten a script.
    ///
    /// Commands are not a transaction: others may run in between. A script the server had forgotten runs after the
    /// rest of its pipeline.
    ///
    /// # Errors
    /// As [`command`](Self::command) for the pipeline as a whole (then the outcome of every command is unknown), and
    /// `Config` if the keys are not all in one slot.
    pub(crate) async fn pipeline(&self, slot_key: &[u8], cmds: Vec<Cmd>) -> Result<Vec<Result<Value>>> {
        if cmds.is_empty() {
            return Ok(Vec::new());
        }
        same_slot(slot_key, cmds.iter().flat_map(keys_of))?;
        let until = Instant::now() + self.deadline;
        let pipeline = pipeline_of(cmds);
        let topology = &self.inner.ears.topology;
        let mut replies = topology.pipeline(slot_key, &pipeline, self.deadline).await?;
        if replies.iter().any(is_noscript) {
            let forgotten = replies.iter().zip(pipeline.cmd_iter()).enumerate();
            let (places, cmds): (Vec<_>, Vec<_>) = forgotten
                .filter(|(_, (reply, _))| is_noscript(reply))
                .filter_map(|(place, (_, cmd))| Some((place, Script::with_source(cmd)?)))
                .unzip();
            let left = until.saturating_duration_since(Instant::now());
            let healed = topology.pipeline(slot_key, &pipeline_of(cmds), left).await?;
            for (place, reply) in places.into_iter().zip(healed) {
                Counters::add(&self.inner.counters.scripts_healed);
                replies[place] = reply;
            }
        }
        Ok(replies.into_iter().map(|reply| self.inner.outcome(reply)).collect())
    }

    /// Runs `script`. All keys lie in one slot, and every key the script touches is among them.
    /// One round trip; two if the server had forgotten the script.
    ///
    /// # Errors
    /// As [`command`](Self::command), and `Config` if the keys are not all in one slot. While a cluster moves the slot,
    /// scripts over several keys are refused with `Unavailable`, mostly until it is done.
    pub(crate) async fn eval(
        &self,
        script: &'static Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value> {
        self.eval_call(script, &script.command(keys, args)).await
    }

    /// [`eval`](Self::eval) of a [call](Script::command) that is put together already.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub(crate) async fn eval_call(&self, script: &'static Script, call: &Cmd) -> Result<Value> {
        let reply = self.eval_until(call, Instant::now() + self.deadline).await;
        self.outcome_of(script, reply)
    }

    async fn eval_until(&self, by_digest: &Cmd, until: Instant) -> Result<Value> {
        let keys = keys_of(by_digest);
        let slot_key = keys.first().copied().unwrap_or_default();
        same_slot(slot_key, keys.iter().copied())?;
        let left = || until.saturating_duration_since(Instant::now());
        let topology = &self.inner.ears.topology;
        let reply = topology.command(slot_key, by_digest, left()).await;
        if reply.as_ref().is_ok_and(is_noscript)
            && let Some(by_source) = Script::with_source(by_digest)
        {
            Counters::add(&self.inner.counters.scripts_healed);
            return topology.command(slot_key, &by_source, left()).await;
        }
        reply
    }

    fn outcome_of(&self, script: &Script, reply: Result<Value>) -> Result<Value> {
        reply
            .and_then(|reply| self.inner.outcome(reply))
            .map_err(|error| error.context(format_args!("script {}", script.name())))
    }
}

impl Inner {
    fn outcome(&self, reply: Value) -> Result<Value> {
        match reply {
            Value::ServerError(refusal) => {
                Counters::add(&self.counters.refused);
                Err(from_reply(&refusal).0)
            }
            value => Ok(value),
        }
    }
}

fn pipeline_of(cmds: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(cmds.len());
    for cmd in cmds {
        pipeline.add_command(cmd);
    }
    pipeline
}

fn is_noscript(reply: &Value) -> bool {
    refused_with(reply, "NOSCRIPT")
}

fn refused_with(reply: &Value, code: &str) -> bool {
    matches!(reply, Value::ServerError(refusal) if refusal.code() == code)
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("target", &self.inner.target)
            .field("deadline", &self.deadline)
            .field("topology", &self.inner.ears.topology)
            .finish()
    }
}
