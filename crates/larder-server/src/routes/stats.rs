//! `/v1/_stats`: what the dashboard shows, and the samples it is made of.

use std::time::Instant;

use hyper::{StatusCode, http::request::Parts};
use larder::cache::{CacheStats, MissReason};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    resource::Resource,
    routes::{Answer, Refusal, alarms, audited, fresh, watched},
    telemetry::Sample,
};

/// The running totals of this moment.
pub(crate) fn sample(app: &App) -> Sample {
    let total = total_of(app);
    Sample {
        at: Instant::now(),
        latency: app.telemetry.data_latency(),
        hits: total.near_hits + total.shared_hits,
        misses: total.cache_reads().saturating_sub(total.near_hits + total.shared_hits),
        source_reads: total.source_reads,
    }
}

/// Answers with totals since the start, and rates over the last seconds.
///
/// # Errors
/// 401 or 403 for a role that is not an administrator's.
pub(crate) fn json(app: &App, head: &Parts) -> Result<Answer, Refusal> {
    require_admin(app, head)?;
    let now = sample(app);
    let span = app.telemetry.window.lock().until(&now);
    let total = total_of(app);
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": app.telemetry.uptime().as_millis() as u64,
        "node": { "database": app.database_kind(), "redis": redis_state(app) },
        "totals": {
            "requests": now.latency.count(),
            "hits_near": total.near_hits,
            "hits_shared": total.shared_hits,
            "misses": total.source_reads,
            "stale_served": total.stale_served,
            "source_loads": total.loads,
            "invalidations_owed": total.invalidations_owed,
            "errors": app.telemetry.server_errors(),
            "in_flight": app.telemetry.slots.taken(),
        },
        "window": {
            "seconds": span.length.as_secs_f64(),
            "requests_per_s": span.per_second(span.latency.count()),
            "hit_rate": span.hit_rate(),
            "source_reads_per_s": span.per_second(span.source_reads),
            "p50_us": span.latency.quantile_us(0.5),
            "p99_us": span.latency.quantile_us(0.99),
        },
        "misses": misses(&total),
        "collections": app.resources.values().map(|resource| {
            let stats = resource.collection.stats();
            json!({
                "name": resource.name,
                "hits_near": stats.near_hits,
                "hits_shared": stats.shared_hits,
                "misses": stats.source_reads,
                "asked": stats.misses_of(MissReason::Asked),
                "source_loads": stats.loads,
                "near_entries": stats.near_entries,
                "near_bytes": stats.near_weight,
                "parts": parts(resource),
                "lists": resource.collection.list_stats().map(|stats| Value::Object(beside(&stats))),
                "hit_rate": alarms::json(resource),
                "audit": audited::json(resource),
                "watch": watched::json(app, resource),
            })
        }).collect::<Vec<_>>(),
    });
    Ok(fresh(StatusCode::OK, "application/json", body.to_string()))
}

/// The declared parts of its documents, which have caches of their own.
fn parts(resource: &Resource) -> Vec<Value> {
    let stats = resource.collection.partial_stats();
    let part = |(name, stats): (&str, CacheStats)| {
        let mut part = beside(&stats);
        part.insert("name".to_owned(), name.into());
        part.into()
    };
    stats.into_iter().map(part).collect()
}

/// What was counted of a cache beside that of the documents.
fn beside(stats: &CacheStats) -> Map<String, Value> {
    let figures = [
        ("hits_near", stats.near_hits),
        ("hits_shared", stats.shared_hits),
        ("misses", stats.source_reads),
        ("source_loads", stats.loads),
        ("near_entries", stats.near_entries),
        ("near_bytes", stats.near_weight),
    ];
    figures.into_iter().map(|(name, figure)| (name.to_owned(), figure.into())).collect()
}

/// Lets only administrators pass.
///
/// # Errors
/// 401 for a request without a key, 403 for a role that is not an administrator's.
pub(super) fn require_admin(app: &App, head: &Parts) -> Result<(), Refusal> {
    let role = app.gate.identify(&head.headers)?.role;
    if app.gate.is_admin(role) {
        return Ok(());
    }
    Err(if app.gate.is_anonymous(role) {
        Refusal::unauthorized("this needs the key of a role with admin = true")
    } else {
        Refusal::forbidden(format!("the role \"{}\" has no admin = true", app.gate.role_name(role)))
    })
}

/// "off", "up" or "down".
pub(super) fn redis_state(app: &App) -> &'static str {
    match &app.redis {
        None => "off",
        Some(redis) if redis.is_available() => "up",
        Some(_) => "down",
    }
}

fn misses(total: &CacheStats) -> Value {
    let counts = MissReason::ALL.iter().zip(total.misses);
    Value::Object(Map::from_iter(counts.map(|(reason, count)| (reason.name().to_owned(), count.into()))))
}

fn total_of(app: &App) -> CacheStats {
    let mut total = CacheStats::default();
    for resource in app.resources.values() {
        let stats = resource.collection.stats();
        total.near_hits += stats.near_hits;
        total.shared_hits += stats.shared_hits;
        total.source_reads += stats.source_reads;
        total.loads += stats.loads;
        total.stale_served += stats.stale_served;
        total.invalidations_owed += stats.invalidations_owed;
        for (sum, count) in total.misses.iter_mut().zip(stats.misses) {
            *sum += count;
        }
    }
    total
}
