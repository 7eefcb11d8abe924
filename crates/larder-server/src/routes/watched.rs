//! What the watch of the database has seen, for `/metrics` and `/v1/_stats`.

use std::fmt::{self, Write};

use larder::document::{ChangeKind, WatchStats};
use serde_json::{Map, Value, json};

use super::metrics::heading;
use crate::{app::App, resource::Resource, watching::stats_of};

/// One collection's, as JSON; null if it is not watched.
pub(super) fn json(app: &App, resource: &Resource) -> Value {
    let Some(stats) = stats_of(app.watch.as_ref(), resource) else { return Value::Null };
    let kinds = ChangeKind::ALL.iter().map(|kind| (kind.name().to_owned(), stats.changes_of(*kind).into()));
    json!({
        "role": stats.role.name(),
        "lag_ms": stats.lag.map(|lag| lag.as_millis() as u64),
        "longest_lag_ms": stats.longest_lag.as_millis() as u64,
        "silent_ms": stats.silent_for.map(|silent| silent.as_millis() as u64),
        "changes": Value::Object(Map::from_iter(kinds)),
        "invalidated": stats.invalidated,
        "clears": stats.clears,
        "history_lost": stats.history_lost,
        "rewinds": stats.rewinds,
        "failures": stats.failures,
        "trouble": stats.trouble,
    })
}

/// A counter of a watch: its name and help, and where it is found.
type Figure = (&'static str, &'static str, fn(&WatchStats) -> u64);

const FIGURES: [Figure; 6] = [
    ("larder_watch_invalidated_total", "Documents invalidated for changes in the database.", |s| {
        s.invalidated
    }),
    ("larder_watch_clears_total", "Times that everything cached was forgotten.", |s| s.clears),
    ("larder_watch_history_lost_total", "Times that the database had lost its history.", |s| s.history_lost),
    (
        "larder_watch_rewinds_total",
        "Times that changes were applied again after Redis lost something.",
        |s| s.rewinds,
    ),
    ("larder_watch_replaced_total", "Times that another node had taken over.", |s| s.replaced),
    ("larder_watch_failures_total", "Failures that were tried again.", |s| s.failures),
];

/// All collections', for Prometheus.
pub(super) fn write(app: &App, page: &mut String) -> fmt::Result {
    let stats: Vec<_> = app
        .resources
        .values()
        .filter_map(|resource| Some((&*resource.name, stats_of(app.watch.as_ref(), resource)?)))
        .collect();
    if stats.is_empty() {
        return Ok(());
    }
    heading(page, "larder_watch_active", "gauge", "Whether this node is the one that applies changes.")?;
    for (name, stats) in &stats {
        let active = u8::from(stats.role.is_active());
        writeln!(page, "larder_watch_active{{collection=\"{name}\"}} {active}")?;
    }
    heading(page, "larder_watch_changes_total", "counter", "Changes applied, by kind.")?;
    for (name, stats) in &stats {
        for kind in ChangeKind::ALL {
            let (count, kind) = (stats.changes_of(kind), kind.name());
            writeln!(page, "larder_watch_changes_total{{collection=\"{name}\",kind=\"{kind}\"}} {count}")?;
        }
    }
    for (figure, help, read) in FIGURES {
        heading(page, figure, "counter", help)?;
        for (name, stats) in &stats {
            writeln!(page, "{figure}{{collection=\"{name}\"}} {}", read(stats))?;
        }
    }
    heading(page, "larder_watch_lag_seconds", "gauge", "From the last change to its having been applied.")?;
    write_seconds(page, "larder_watch_lag_seconds", &stats, |stats| stats.lag)?;
    heading(page, "larder_watch_silent_seconds", "gauge", "Since the database was last heard of.")?;
    write_seconds(page, "larder_watch_silent_seconds", &stats, |stats| stats.silent_for)
}

fn write_seconds(
    page: &mut String,
    figure: &str,
    stats: &[(&str, WatchStats)],
    read: fn(&WatchStats) -> Option<std::time::Duration>,
) -> fmt::Result {
    for (name, stats) in stats {
        if let Some(time) = read(stats) {
            writeln!(page, "{figure}{{collection=\"{name}\"}} {}", time.as_secs_f64())?;
        }
    }
    Ok(())
}
