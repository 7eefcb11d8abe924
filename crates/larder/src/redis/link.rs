//! The way to one primary: operations on the connection that the supervisor keeps alive.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{Cmd, Pipeline, RedisResult, Value};
use arc_swap::ArcSwapOption;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    breaker::{Breaker, BreakerState, Circuit, Outcome, Permit},
    caller::Reply,
    dial::Dialer,
    error::{Health, from_driver, from_reply, timed_out},
    lane::Lanes,
    stats::Counters,
    supervisor::{self, Primary},
    url::Address,
    wire::{Sent, Wire, heard},
};
use crate::{Clock, Error, ErrorKind, Result};

/// One multiplexed connection to one primary, and the task that replaces it when it breaks.
///
/// An operation costs one atomic load, one timer and one short lock, which callers on different cores share. While there is no
/// connection it fails at once. Dropping the link ends the task and the connection.
pub(crate) struct Link {
    shared: Arc<Shared>,
    _supervisor: AbortOnDropHandle<()>,
}

/// What all links of a deployment have in common.
#[derive(Clone, Debug)]
pub(super) struct LinkSettings {
    pub(super) dialer: Dialer,
    pub(super) probe_interval: Duration,
    pub(super) breaker: Breaker,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    pub(super) runtimes: Arc<[Handle]>,
}

/// What the operations and the supervisor share.
pub(super) struct Shared {
    pub(super) dialer: Dialer,
    pub(super) primary: Primary,
    pub(super) probe_interval: Duration,
    pub(super) circuit: Circuit,
    pub(super) counters: Arc<Counters>,
    pub(super) live: ArcSwapOption<Live>,
    pub(super) state: watch::Sender<State>,
    /// Wakes the supervisor: an operation timed out or found its connection broken.
    pub(super) doubt: Notify,
    /// The newest generation that an operation found to be of no more use.
    pub(super) condemned: AtomicU64,
    /// Those that have lanes.
    pub(super) runtimes: Arc<[Handle]>,
}

/// A connection in use.
pub(super) struct Live {
    pub(super) connection: Wire,
    /// More connections to where that one leads.
    pub(super) lanes: Arc<Lanes>,
    pub(super) generation: u64,
}

/// Where the link stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// How many connections there have been; the number of the present one while up.
    pub(crate) generation: u64,
    /// How many attempts to connect have ended, well or not.
    pub(crate) attempts: u64,
    /// Whether there is a connection.
    pub(crate) up: bool,
    /// Where the present or last connection leads.
    pub(crate) address: Option<Address>,
    /// Why there is none, or why the last one was lost.
    pub(crate) trouble: Option<Error>,
}

impl Link {
    /// A link to the primary at a fixed address.
    pub(super) fn to(settings: &LinkSettings, address: Address) -> Self {
        Self::start(settings, Primary::Fixed(address))
    }

    /// Starts to connect, and returns at once. Must be called inside a Tokio runtime.
    pub(super) fn start(settings: &LinkSettings, primary: Primary) -> Self {
        let LinkSettings { dialer, probe_interval, breaker, clock, counters, runtimes } = settings.clone();
        let shared = Arc::new(Shared {
            dialer,
            primary,
            probe_interval,
            circuit: Circuit::new(breaker, clock),
            counters,
            live: ArcSwapOption::empty(),
            state: watch::Sender::default(),
            doubt: Notify::new(),
            condemned: AtomicU64::new(0),
            runtimes,
        });
        let supervisor = tokio::spawn(supervisor::supervise(Arc::clone(&shared)));
        Self { shared, _supervisor: AbortOnDropHandle::new(supervisor) }
    }

    /// Sends one command and waits for its reply, at most `deadline`. An error reply is a value.
    pub(crate) async fn command(&self, cmd: &Cmd, deadline: Duration) -> Result<Value> {
        self.call(cmd, deadline, health_of).await
    }

    /// Sends all of `pipeline` in one write and waits for all replies, at most `deadline`. Error replies stay in
    /// their places among the values.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline, deadline: Duration) -> Result<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let worst = |replies: &Vec<Value>| replies.iter().map(health_of).max().unwrap_or(Health::Sound);
        self.call(pipeline, deadline, worst).await
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.shared.live.load().is_some()
    }

    /// The number of the connection that operations go over; `None` while there is none. It only grows.
    pub(super) fn live_generation(&self) -> Option<u64> {
        self.shared.live.load().as_ref().map(|live| live.generation)
    }

    /// Where the primary is, if that does not change.
    pub(super) fn fixed_address(&self) -> Option<&Address> {
        match &self.shared.primary {
            Primary::Fixed(address) => Some(address),
            Primary::Watched { .. } => None,
        }
    }

    /// Where the present or last connection leads.
    pub(super) fn address(&self) -> Option<Address> {
        self.shared.state.borrow().address.clone()
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.shared.circuit.state()
    }

    async fn call<C: Sent>(
        &self,
        call: &C,
        deadline: Duration,
        judge: impl FnOnce(&C::Replies) -> Health,
    ) -> Result<C::Replies> {
        let shared = &*self.shared;
        let Begun { left, permit, generation } = shared.begin(call)?;
        let reply = async {
            match left? {
                Left::Now(reply) => heard(reply).await,
                // Boxed: every call has room for this, and few find none.
                Left::Crowded(wire) => Box::pin(wire.send(call)).await,
            }
        };
        // By the caller's own timer: what drives the connection may be another runtime, and may stand still.
        let (result, health) = match timeout(deadline, reply).await {
            Ok(Ok(reply)) => {
                let health = judge(&reply);
                (Ok(reply), health)
            }
            Ok(Err(error)) => {
                Counters::add(&shared.counters.lost);
                let (error, health) = from_driver(&error);
                (Err(error), health)
            }
            Err(_elapsed) => {
                Counters::add(&shared.counters.timeouts);
                shared.doubt.notify_one();
                (Err(timed_out(deadline)), Health::Trouble)
            }
        };
        permit.finish(if health == Health::Sound { Outcome::Answered } else { Outcome::Failed });
        if health == Health::Gone {
            shared.condemn(generation);
        }
        result
    }
}

/// A call that was let through.
struct Begun<'a, T> {
    left: RedisResult<Left<T>>,
    permit: Permit<'a>,
    generation: u64,
}

enum Left<T> {
    /// With the connection, whose task answers it.
    Now(Reply<T>),
    /// With nobody: there was no room for it.
    Crowded(Wire),
}

fn health_of(reply: &Value) -> Health {
    match reply {
        Value::ServerError(refusal) => from_reply(refusal).1,
        _ => Health::Sound,
    }
}

impl Shared {
    /// Leaves a call to the connection, if there is one and the breaker lets it through. Nobody holds on to the connection for
    /// the wait: the count of its holders would be written to by all cores.
    fn begin<C: Sent>(&self, call: &C) -> Result<Begun<'_, C::Replies>> {
        let live = self.live.load();
        let Some(Live { connection, lanes, generation }) = live.as_deref() else {
            Counters::add(&self.counters.unavailable);
            return Err(self.down());
        };
        let permit = self.circuit.admit().map_err(|pause| {
            Counters::add(&self.counters.unavailable);
            Error::new(ErrorKind::Unavailable, "redis is in trouble: the breaker is open")
                .with_retry_after(pause)
        })?;
        self.counters.round_trips.add_one();
        let leave_at = |wire: &Wire| {
            let left = wire.leave(call)?;
            Ok(left.map_or_else(|| Left::Crowded(wire.clone()), Left::Now))
        };
        // A lane that has ended is passed by: whoever kept it sees to the rest.
        let left = lanes.own().and_then(|own| leave_at(own).ok()).map_or_else(|| leave_at(connection), Ok);
        Ok(Begun { left, permit, generation: *generation })
    }

    /// Tells the supervisor that the connection of `generation` is of no more use.
    pub(super) fn condemn(&self, generation: u64) {
        self.condemned.fetch_max(generation, Ordering::AcqRel);
        self.doubt.notify_one();
    }

    fn down(&self) -> Error {
        let error = Error::new(ErrorKind::Unavailable, "redis is not connected");
        match &self.state.borrow().trouble {
            Some(trouble) => error.with_source(trouble.clone()),
            None => error,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("primary", &self.shared.primary).field("up", &self.is_up()).finish()
    }
}
