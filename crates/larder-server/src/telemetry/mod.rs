//! What the server counts about itself: requests by route and outcome, how long they took, how many are at work.

mod histogram;
mod slots;
mod stripe;
mod window;

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use hyper::StatusCode;
use parking_lot::Mutex;

pub(crate) use self::{
    histogram::{Histogram, Snapshot},
    slots::Slots,
    window::{Sample, Window},
};

/// What a request asked for; one histogram each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Read,
    List,
    Create,
    Bulk,
    Replace,
    Patch,
    Delete,
    Query,
    /// The server's own pages: health, metrics, description.
    Own,
}

impl Route {
    pub(crate) const ALL: [Self; 9] = [
        Self::Read,
        Self::List,
        Self::Create,
        Self::Bulk,
        Self::Replace,
        Self::Patch,
        Self::Delete,
        Self::Query,
        Self::Own,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Bulk => "bulk",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Query => "query",
            Self::Own => "own",
        }
    }
}

/// What was counted for one route.
#[derive(Debug, Default)]
pub(crate) struct RouteStats {
    /// Every request, whatever its outcome.
    pub latency: Histogram,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
}

impl RouteStats {
    /// Answers with a 4xx status.
    pub(crate) fn client_errors(&self) -> u64 {
        self.client_errors.load(Ordering::Relaxed)
    }

    /// Answers with a 5xx status.
    pub(crate) fn server_errors(&self) -> u64 {
        self.server_errors.load(Ordering::Relaxed)
    }
}

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Telemetry {
    started: Instant,
    routes: [RouteStats; Route::ALL.len()],
    /// The requests at work.
    pub slots: Slots,
    /// The last seconds, second by second.
    pub window: Mutex<Window>,
    /// How many threads take new connections.
    pub threads_in_use: AtomicUsize,
    /// How many connections were ended behind an answer, for another thread.
    pub connections_moved: AtomicU64,
}

impl Telemetry {
    pub(crate) fn new(max_in_flight: u32) -> Self {
        Self {
            started: Instant::now(),
            routes: std::array::from_fn(|_| RouteStats::default()),
            slots: Slots::new(max_in_flight),
            window: Mutex::default(),
            threads_in_use: AtomicUsize::new(0),
            connections_moved: AtomicU64::new(0),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn route(&self, route: Route) -> &RouteStats {
        &self.routes[route as usize]
    }

    /// Counts one answer. A success costs two relaxed additions.
    pub(crate) fn record(&self, route: Route, status: StatusCode, elapsed: Duration) {
        let stats = self.route(route);
        stats.latency.record(elapsed);
        if status.is_client_error() {
            stats.client_errors.fetch_add(1, Ordering::Relaxed);
        } else if status.is_server_error() {
            stats.server_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The latencies of all requests for data: the server's own pages would blur them.
    pub(crate) fn data_latency(&self) -> Snapshot {
        let mut total = Snapshot::default();
        for route in Route::ALL.into_iter().filter(|route| *route != Route::Own) {
            total.add(&self.route(route).latency.snapshot());
        }
        total
    }

    /// All answers with a 5xx status.
    pub(crate) fn server_errors(&self) -> u64 {
        self.routes.iter().map(RouteStats::server_errors).sum()
    }
}
