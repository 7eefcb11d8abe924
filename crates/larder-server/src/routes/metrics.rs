//! `/metrics`, in the text format of Prometheus.

use std::{
    fmt::{self, Write},
    sync::atomic::Ordering::Relaxed,
};

use hyper::{StatusCode, http::request::Parts};
use larder::{
    cache::{CacheStats, MissReason},
    redis::BreakerState,
};

use crate::{
    app::App,
    routes::{
        Answer, Refusal, alarms, audited, fresh,
        stats::{redis_state, require_admin},
        tokens, watched,
    },
    telemetry::Route,
};

/// Answers with every counter.
///
/// # Errors
/// 401 or 403 for a role that is not an administrator's.
pub(crate) fn text(app: &App, head: &Parts) -> Result<Answer, Refusal> {
    require_admin(app, head)?;
    let mut page = String::with_capacity(16 << 10);
    write_page(app, &mut page).expect("writing into memory cannot fail");
    Ok(fresh(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page))
}

fn write_page(app: &App, page: &mut String) -> fmt::Result {
    write_requests(app, page)?;
    write_caches(app, page)?;
    write_parts(app, page)?;
    write_lists(app, page)?;
    write_redis(app, page)?;
    alarms::write(app, page)?;
    audited::write(app, page)?;
    watched::write(app, page)?;
    tokens::write(app, page)?;
    heading(page, "larder_uptime_seconds", "gauge", "Time since the server started.")?;
    writeln!(page, "larder_uptime_seconds {}", app.telemetry.uptime().as_secs())
}

pub(super) fn heading(page: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Upper bounds of the latency buckets, in microseconds.
const BOUNDS_US: [u64; 14] = [
    64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
];

fn write_requests(app: &App, page: &mut String) -> fmt::Result {
    let name = "larder_request_duration_seconds";
    heading(page, name, "histogram", "Time from a request's head to its answer.")?;
    for route in Route::ALL {
        let latency = app.telemetry.route(route).latency.snapshot();
        let (count, route) = (latency.count(), route.name());
        for bound_us in BOUNDS_US {
            let (bound_s, below) = (bound_us as f64 / 1e6, latency.count_up_to(bound_us));
            writeln!(page, "{name}_bucket{{route=\"{route}\",le=\"{bound_s}\"}} {below}")?;
        }
        writeln!(page, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}")?;
        writeln!(page, "{name}_sum{{route=\"{route}\"}} {}", latency.sum_us as f64 / 1e6)?;
        writeln!(page, "{name}_count{{route=\"{route}\"}} {count}")?;
    }
    heading(page, "larder_request_errors_total", "counter", "Answers with an error status.")?;
    for route in Route::ALL {
        let stats = app.telemetry.route(route);
        for (class, count) in [("4xx", stats.client_errors()), ("5xx", stats.server_errors())] {
            writeln!(
                page,
                "larder_request_errors_total{{route=\"{}\",class=\"{class}\"}} {count}",
                route.name()
            )?;
        }
    }
    heading(page, "larder_requests_in_flight", "gauge", "Requests at work.")?;
    writeln!(page, "larder_requests_in_flight {}", app.telemetry.slots.taken())?;
    heading(page, "larder_threads_in_use", "gauge", "Threads that take new connections.")?;
    writeln!(page, "larder_threads_in_use {}", app.telemetry.threads_in_use.load(Relaxed))?;
    let (name, help) =
        ("larder_connections_moved_total", "Connections ended behind an answer, for another thread.");
    heading(page, name, "counter", help)?;
    writeln!(page, "{name} {}", app.telemetry.connections_moved.load(Relaxed))
}

/// A figure of a cache: its name, kind and help, and where it is found.
type Figure = (&'static str, &'static str, &'static str, fn(&CacheStats) -> u64);

const FIGURES: [Figure; 14] = [
    ("larder_source_loads_total", "counter", "Calls of the database by the cache.", |s| s.loads),
    ("larder_source_load_errors_total", "counter", "Of these, the ones that failed.", |s| s.load_errors),
    ("larder_read_errors_total", "counter", "Reads that ended in an error.", |s| s.read_errors),
    ("larder_stale_served_total", "counter", "Hits past their soft expiry.", |s| s.stale_served),
    ("larder_refreshes_total", "counter", "Refreshes behind a stale value.", |s| s.refreshes),
    ("larder_fills_accepted_total", "counter", "Values that Redis took.", |s| s.fills_accepted),
    ("larder_fills_refused_total", "counter", "Values refused: an invalidation came in between.", |s| {
        s.fills_refused
    }),
    ("larder_invalidated_total", "counter", "Keys invalidated.", |s| s.invalidated),
    ("larder_shared_errors_total", "counter", "Calls of Redis by the cache that failed.", |s| {
        s.shared_errors
    }),
    ("larder_log_gaps_total", "counter", "How often missed invalidations were read from the log.", |s| {
        s.log_gaps
    }),
    ("larder_corrupt_total", "counter", "Stored values that were foreign or damaged.", |s| s.corrupt),
    ("larder_invalidations_owed", "gauge", "Keys whose invalidation waits for Redis.", |s| {
        s.invalidations_owed
    }),
    ("larder_near_entries", "gauge", "Entries in this node's own memory.", |s| s.near_entries),
    ("larder_near_bytes", "gauge", "Their size.", |s| s.near_weight),
];

fn write_caches(app: &App, page: &mut String) -> fmt::Result {
    let caches: Vec<_> = app
        .resources
        .values()
        .map(|resource| (resource.name.as_str(), resource.collection.stats()))
        .collect();
    heading(page, "larder_cache_hits_total", "counter", "Reads answered by a cache, by tier.")?;
    for (name, stats) in &caches {
        for (tier, hits) in [("near", stats.near_hits), ("shared", stats.shared_hits)] {
            writeln!(page, "larder_cache_hits_total{{collection=\"{name}\",tier=\"{tier}\"}} {hits}")?;
        }
    }
    heading(page, "larder_cache_misses_total", "counter", "Reads answered by the database, by reason.")?;
    for (name, stats) in &caches {
        for (reason, count) in MissReason::ALL.iter().zip(stats.misses) {
            let reason = reason.name();
            writeln!(page, "larder_cache_misses_total{{collection=\"{name}\",reason=\"{reason}\"}} {count}")?;
        }
    }
    let caches = caches.into_iter().map(|(name, stats)| (format!("collection=\"{name}\""), stats));
    write_figures(page, &FIGURES, &caches.collect::<Vec<_>>())
}

/// Each figure of all these caches, which are told apart by their labels.
fn write_figures(page: &mut String, figures: &[Figure], caches: &[(String, CacheStats)]) -> fmt::Result {
    for (figure, kind, help, read) in figures {
        heading(page, figure, kind, help)?;
        for (labels, stats) in caches {
            writeln!(page, "{figure}{{{labels}}} {}", read(stats))?;
        }
    }
    Ok(())
}

/// What was counted of the declared parts of documents: series of their own, so that sums over collections stay what they are.
const PART_FIGURES: [Figure; 6] = [
    ("larder_part_near_hits_total", "counter", "Reads of a part answered by this node's own copy.", |s| {
        s.near_hits
    }),
    ("larder_part_shared_hits_total", "counter", "Reads of a part answered by Redis.", |s| s.shared_hits),
    ("larder_part_misses_total", "counter", "Reads of a part answered by the database or a whole.", |s| {
        s.source_reads
    }),
    ("larder_part_loads_total", "counter", "Calls for parts that were not cached.", |s| s.loads),
    ("larder_part_near_entries", "gauge", "Parts in this node's own memory.", |s| s.near_entries),
    ("larder_part_near_bytes", "gauge", "Their size.", |s| s.near_weight),
];

fn write_parts(app: &App, page: &mut String) -> fmt::Result {
    let mut parts = Vec::new();
    for resource in app.resources.values() {
        let stats = resource.collection.partial_stats();
        let labels = |part| format!("collection=\"{}\",part=\"{part}\"", resource.name);
        parts.extend(stats.into_iter().map(|(part, stats)| (labels(part), stats)));
    }
    if parts.is_empty() { Ok(()) } else { write_figures(page, &PART_FIGURES, &parts) }
}

/// What was counted of lists, where they are cached: series of their own as well.
const LIST_FIGURES: [Figure; 6] = [
    ("larder_list_near_hits_total", "counter", "Lists answered by this node's own copy.", |s| s.near_hits),
    ("larder_list_shared_hits_total", "counter", "Lists answered by Redis.", |s| s.shared_hits),
    ("larder_list_misses_total", "counter", "Lists answered by the database.", |s| s.source_reads),
    ("larder_list_loads_total", "counter", "Calls for lists that were not cached.", |s| s.loads),
    ("larder_list_near_entries", "gauge", "Lists in this node's own memory.", |s| s.near_entries),
    ("larder_list_near_bytes", "gauge", "Their size.", |s| s.near_weight),
];

fn write_lists(app: &App, page: &mut String) -> fmt::Result {
    let mut lists = Vec::new();
    for resource in app.resources.values() {
        let label = format!("collection=\"{}\"", resource.name);
        lists.extend(resource.collection.list_stats().map(|stats| (label, stats)));
    }
    if lists.is_empty() { Ok(()) } else { write_figures(page, &LIST_FIGURES, &lists) }
}

fn write_redis(app: &App, page: &mut String) -> fmt::Result {
    let Some(redis) = &app.redis else { return Ok(()) };
    heading(page, "larder_redis_up", "gauge", "Whether Redis can be reached.")?;
    writeln!(page, "larder_redis_up {}", u8::from(redis_state(app) == "up"))?;
    heading(page, "larder_redis_breaker_open", "gauge", "Whether the breaker keeps requests from Redis.")?;
    writeln!(page, "larder_redis_breaker_open {}", u8::from(redis.breaker() != BreakerState::Closed))?;
    let stats = redis.stats();
    for (name, help, count) in [
        ("larder_redis_round_trips_total", "Requests sent to Redis.", stats.round_trips),
        ("larder_redis_timeouts_total", "Requests whose deadline passed.", stats.timeouts),
        ("larder_redis_lost_total", "Requests that failed with their connection.", stats.lost),
        ("larder_redis_refused_total", "Error replies of Redis.", stats.refused),
        (
            "larder_redis_unavailable_total",
            "Requests refused at once: no connection, or breaker open.",
            stats.unavailable,
        ),
        ("larder_redis_connects_total", "Connections made.", stats.connects),
        (
            "larder_redis_scripts_healed_total",
            "Scripts sent again after Redis forgot them.",
            stats.scripts_healed,
        ),
    ] {
        heading(page, name, "counter", help)?;
        writeln!(page, "{name} {count}")?;
    }
    Ok(())
}
