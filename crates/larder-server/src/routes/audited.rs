//! What the audit has found, for `/metrics` and `/v1/_stats`.

use std::fmt::{self, Write};

use larder::cache::{AuditStats, STALE_AGE_BOUNDS};
use serde_json::{Value, json};

use super::metrics::heading;
use crate::{app::App, resource::Resource};

/// One collection's, as JSON; null if it is not audited.
pub(super) fn json(resource: &Resource) -> Value {
    let Some(found) = resource.audit.as_ref().map(larder::cache::Audit::stats) else { return Value::Null };
    json!({
        "checked": found.checked(),
        "stale": found.stale,
        "caught_up": found.caught_up,
        "not_cached": found.not_cached,
        "failed": found.failed,
        "oldest_stale_ms": found.oldest_stale.as_millis() as u64,
    })
}

/// All collections', for Prometheus.
pub(super) fn write(app: &App, page: &mut String) -> fmt::Result {
    let found: Vec<(&str, AuditStats)> = app
        .resources
        .values()
        .filter_map(|resource| Some((&*resource.name, resource.audit.as_ref()?.stats())))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let name = "larder_audit_checks_total";
    heading(page, name, "counter", "Copies compared with the database, by what that came to.")?;
    for (collection, found) in &found {
        for (result, count) in [
            ("same", found.same),
            ("stale", found.stale),
            ("caught-up", found.caught_up),
            ("not-cached", found.not_cached),
            ("failed", found.failed),
        ] {
            writeln!(page, "{name}{{collection=\"{collection}\",result=\"{result}\"}} {count}")?;
        }
    }
    let name = "larder_audit_stale_age_seconds";
    heading(page, name, "histogram", "Time from the load of a stale copy to its being found.")?;
    for (collection, found) in &found {
        for (bound, count) in STALE_AGE_BOUNDS.iter().zip(found.stale_ages) {
            let bound = bound.as_secs();
            writeln!(page, "{name}_bucket{{collection=\"{collection}\",le=\"{bound}\"}} {count}")?;
        }
        writeln!(page, "{name}_bucket{{collection=\"{collection}\",le=\"+Inf\"}} {}", found.stale)?;
        writeln!(page, "{name}_sum{{collection=\"{collection}\"}} {}", found.stale_age_sum.as_secs_f64())?;
        writeln!(page, "{name}_count{{collection=\"{collection}\"}} {}", found.stale)?;
    }
    let name = "larder_audit_oldest_stale_seconds";
    heading(page, name, "gauge", "The longest of these times.")?;
    for (collection, found) in &found {
        writeln!(page, "{name}{{collection=\"{collection}\"}} {}", found.oldest_stale.as_secs_f64())?;
    }
    Ok(())
}
