//! A TCP proxy that misbehaves on demand.

mod front;
mod ports;
mod pump;
mod steps;
#[cfg(test)]
mod tests;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use self::front::Front;
use self::{
    ports::Ports,
    pump::{Direction, pump},
    steps::{Calls, Steps},
};

/// What the proxy does to connections, old and new, from the moment it is [set](Proxy::set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    Pass,
    /// New connections are refused; the old ones go on. Follow with [`Proxy::cut`] for a server that is gone.
    Refuse,
    /// Connections are accepted and stay open, but nothing is forwarded either way: a half-open connection, or a
    /// network that swallows packets. What was held is forwarded when the fault is over, as TCP would.
    Silent,
    /// Replies arrive this much later; their order and the number under way at once stay as they were.
    Delay(Duration),
    /// Requests reach the server, replies vanish. A connection that lost a reply is closed when the fault is over.
    DropReplies,
    /// Each connection is closed after this many further bytes of replies, in the middle of one if need be.
    CutAfter(u64),
    /// The nth script (`EVAL`, `EVALSHA`) that Redis clients call, counted from zero over all connections, goes no further than
    /// to this moment, and its connection with it; [`Proxy::stopped`] tells of it. For connections that are opened from now on.
    StopAt(Moment, u64),
}

/// How far a call comes that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server has not seen it, nor what was sent behind it.
    Before,
    /// The server has carried it out, and its client hears neither of that nor of what comes after it.
    After,
}

/// A proxy in front of one server. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    upstream_port: AtomicU16,
    pub(crate) fault: watch::Sender<Fault>,
    /// Every move closes the connections that exist at that moment.
    cuts: watch::Sender<u64>,
    /// What servers say of where others are, if they do.
    pub(crate) ports: OnceLock<Ports>,
    steps: Arc<Steps>,
    connections: AtomicU64,
    pub(crate) bytes_to_server: AtomicU64,
    pub(crate) bytes_to_client: AtomicU64,
}

impl Proxy {
    /// Starts a proxy in front of a server on this machine.
    ///
    /// # Panics
    /// If no loopback port is free.
    pub async fn start(upstream_port: u16) -> Self {
        Self::start_counting(upstream_port, Arc::default()).await
    }

    /// The same, and what clients call through it is counted there.
    async fn start_counting(upstream_port: u16, steps: Arc<Steps>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            upstream_port: upstream_port.into(),
            fault: watch::Sender::new(Fault::Pass),
            cuts: watch::Sender::new(0),
            ports: OnceLock::new(),
            steps,
            connections: AtomicU64::new(0),
            bytes_to_server: AtomicU64::new(0),
            bytes_to_client: AtomicU64::new(0),
        });
        let accept = tokio::spawn(accept(Arc::clone(&shared), listener));
        Self { port, shared, accept }
    }

    /// Where it listens, on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Behaves like `fault` from now on.
    pub fn set(&self, fault: Fault) {
        self.shared.steps.reset();
        self.shared.fault.send_replace(fault);
    }

    /// Closes every connection there is. New ones are treated by the fault that is set.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Stands in front of another server of this machine from now on, as an address that moves with a failover does, and closes
    /// the connections to the one before.
    pub fn lead_to(&self, upstream_port: u16) {
        self.lead_new_to(upstream_port);
        self.cut();
    }

    /// Leads new connections to another server of this machine from now on; those that there are go on.
    pub fn lead_new_to(&self, upstream_port: u16) {
        self.shared.upstream_port.store(upstream_port, Ordering::Relaxed);
    }

    /// Returns when a script has come as far as [`Fault::StopAt`] lets it.
    pub async fn stopped(&self) {
        let mut stopped = self.shared.steps.stopped.subscribe();
        let _ = stopped.wait_for(|stopped| *stopped).await.expect("what we hold is not dropped");
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many bytes were forwarded so far, to the server and to the client.
    pub fn bytes(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.shared.bytes_to_server), read(&self.shared.bytes_to_client))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections belong to the accepting task and end with it.
        self.accept.abort();
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut fault = shared.fault.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *fault.borrow_and_update() == Fault::Refuse {
            listener = None;
            if fault.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address).await.expect("the port is still ours"),
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(serve(Arc::clone(&shared), client));
                }
            }
            changed = fault.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
        }
        listener = Some(open);
    }
}

async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let mut cuts = shared.cuts.subscribe();
    cuts.mark_unchanged();
    let forward = async {
        let mut fault = shared.fault.subscribe();
        let _ = fault.wait_for(|fault| *fault != Fault::Silent).await;
        let port = shared.upstream_port.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let calls = Calls::counted(&shared.steps, *fault.borrow());
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::select! {
            () = pump(&shared, Direction::ToServer, calls.as_ref(), &mut from_client, &mut to_server) => {}
            () = pump(&shared, Direction::ToClient, calls.as_ref(), &mut from_server, &mut to_client) => {}
        }
    };
    tokio::select! {
        () = forward => {}
        _ = cuts.changed() => {}
    }
}
