//! The task that owns a link's connection: it connects, watches, and connects again.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ::redis::{PushInfo, PushKind};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    dial::Dialer,
    greet::{Greeted, greet, is_replica},
    lane::{self, Lanes},
    link::{Live, Shared},
    sentinel::find_primary,
    url::Address,
    wire::Wire,
};
use crate::{Error, ErrorKind, Result};

/// How to find the primary, asked again at each connect.
#[derive(Clone, Debug)]
pub(crate) enum Primary {
    /// Always at the same address.
    Fixed(Address),
    /// Where the sentinels say.
    Watched { sentinels: Vec<Address>, service: String },
}

/// A connection that lived this long lets the next attempts start with short delays again.
const STABLE: Duration = Duration::from_secs(5);

/// A server that answers calls is asked for its role this often: a demoted primary goes on answering reads.
const ASK_A_BUSY_ONE: Duration = Duration::from_secs(2);

/// Runs until it is aborted by the link that owns it.
pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut backoff = Backoff::reconnect();
    loop {
        match connect(&shared).await {
            Ok((connected, address)) => {
                let since = Instant::now();
                let (generation, lanes) = publish(&shared, connected.wire.clone(), &address);
                // Closed with the connection, since they have to lead to where it leads.
                let _held = lane::hold_all(&shared, &lanes, &connected, &address, generation);
                let why = watch(&shared, connected, generation, &shared.doubt).await;
                withdraw(&shared, why);
                if since.elapsed() >= STABLE {
                    backoff.reset();
                }
            }
            Err(error) => withdraw(&shared, error),
        }
        sleep(backoff.next(rand::random())).await;
    }
}

/// A connection that was greeted.
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) server: Greeted,
    /// Rings when the server has closed it.
    gone: Arc<Notify>,
}

async fn connect(shared: &Shared) -> Result<(Connected, Address)> {
    let address = match &shared.primary {
        Primary::Fixed(address) => address.clone(),
        Primary::Watched { sentinels, service } => find_primary(&shared.dialer, sentinels, service).await?,
    };
    Ok((reach(&shared.dialer, &address).await?, address))
}

/// Opens a connection and looks at who answers.
pub(super) async fn reach(dialer: &Dialer, address: &Address) -> Result<Connected> {
    let gone = Arc::new(Notify::new());
    // The closure holds nothing but the bell: it lives as long as the connection, which `Shared` holds.
    let bell = Arc::clone(&gone);
    let on_push = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            bell.notify_one();
        }
    };
    let wire = dialer.open(address, on_push).await?;
    let server = greet(&wire, address, dialer.connect_deadline()).await?;
    Ok(Connected { wire, server, gone })
}

fn publish(shared: &Shared, wire: Wire, address: &Address) -> (u64, Arc<Lanes>) {
    let generation = shared.state.borrow().generation + 1;
    let lanes = Arc::new(Lanes::of(&shared.runtimes));
    // Counted first: whoever gets a reply of the new connection must be able to see that it is a new one.
    shared.counters.connects.fetch_add(1, Ordering::Release);
    shared.live.store(Some(Arc::new(Live { connection: wire, lanes: Arc::clone(&lanes), generation })));
    shared.circuit.probe_soon();
    shared.state.send_modify(|state| {
        state.generation = generation;
        state.attempts += 1;
        state.up = true;
        state.address = Some(address.clone());
        state.trouble = None;
    });
    tracing::info!(%address, generation, "Connected to Redis.");
    (generation, lanes)
}

fn withdraw(shared: &Shared, why: Error) {
    shared.live.store(None);
    shared.state.send_modify(|state| {
        // One line for the loss or the first failure; the attempts in between are for debugging.
        if state.up || state.attempts == 0 {
            tracing::warn!(error = %why, "Redis is away; reads go to the source until it is back.");
        } else {
            tracing::debug!(error = %why, "Redis is still away.");
        }
        state.attempts += u64::from(!state.up);
        state.up = false;
        state.trouble = Some(why);
    });
}

/// Returns when the connection is of no more use, and why. `doubt` rings when it should be looked at sooner.
pub(super) async fn watch(shared: &Shared, connected: Connected, generation: u64, doubt: &Notify) -> Error {
    let Connected { wire, server, gone } = connected;
    let lost = |why: &'static str| Error::new(ErrorKind::Unavailable, why);
    let question = server.sign.question();
    let mut pulse = Pulse::new(wire.replies(), Instant::now());
    loop {
        tokio::select! {
            () = gone.notified() => return lost("the server closed the connection"),
            () = doubt.notified() => {
                if shared.condemned.load(Ordering::Acquire) >= generation {
                    return lost("the connection broke, or its server is no primary any more");
                }
            }
            () = sleep(shared.probe_interval) => {
                if !pulse.is_question_due(wire.replies(), Instant::now()) {
                    continue;
                }
            }
        }
        pulse.asked = Instant::now();
        match timeout(shared.probe_interval, wire.ask(&question)).await {
            Ok(Ok(role)) if is_replica(&role) => return lost("the server is a replica now, not a primary"),
            // Any other reply will do, an error too: it shows that the server is there.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Error::new(ErrorKind::Unavailable, format!("connection lost: {error}")),
            Err(_) => return lost("the server is silent"),
        }
        // The answer to the question is no sign of calls.
        pulse.replies = wire.replies();
    }
}

/// What was seen of a connection at the last look.
struct Pulse {
    /// How many replies had come.
    replies: u64,
    asked: Instant,
}

impl Pulse {
    fn new(replies: u64, now: Instant) -> Self {
        Self { replies, asked: now }
    }

    /// A quiet server is asked at every look, one that answers calls seldom.
    fn is_question_due(&mut self, replies: u64, now: Instant) -> bool {
        let is_quiet = replies == mem::replace(&mut self.replies, replies);
        is_quiet || now.duration_since(self.asked) >= ASK_A_BUSY_ONE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

    use arc_swap::ArcSwapOption;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        sync::watch,
    };

    use super::*;
    use crate::{
        SystemClock,
        redis::{Breaker, RedisConfig, breaker::Circuit, greet::SignOfLife, stats::Counters},
    };

    const INTERVAL: Duration = Duration::from_millis(100);

    fn shared() -> Shared {
        let config = RedisConfig::new("redis://127.0.0.1:6379");
        Shared {
            dialer: Dialer::new(config.target().unwrap(), &config).unwrap(),
            primary: Primary::Watched { sentinels: Vec::new(), service: String::new() },
            probe_interval: INTERVAL,
            circuit: Circuit::new(Breaker::default(), Arc::new(SystemClock)),
            counters: Arc::new(Counters::default()),
            live: ArcSwapOption::empty(),
            state: watch::Sender::default(),
            doubt: Notify::new(),
            condemned: AtomicU64::new(0),
            runtimes: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_server_is_asked_at_every_interval() {
        let (client, mut server) = duplex(1 << 10);
        let wire = Wire::over(client, Box::new(|_| {}));
        let asked = AtomicU32::new(0);
        let answering = async {
            let mut question = [0; b"*1\r\n$4\r\nPING\r\n".len()];
            while server.read_exact(&mut question).await.is_ok() {
                asked.fetch_add(1, SeqCst);
                server.write_all(b"+PONG\r\n").await.unwrap();
            }
        };
        let (shared, server) = (shared(), Greeted { sign: SignOfLife::Ping, run: None });
        let watching =
            super::watch(&shared, Connected { wire, server, gone: Arc::default() }, 1, &shared.doubt);
        let both = async { tokio::join!(watching, answering) };
        assert!(timeout(INTERVAL * 10 + INTERVAL / 2, both).await.is_err(), "nothing is wrong with it");
        assert_eq!(asked.load(SeqCst), 10);
    }
}
