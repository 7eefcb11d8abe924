//! What is to be thought of each collection's hit rate, for `/metrics` and `/v1/_stats`.

use std::fmt::{self, Write};

use larder::cache::HitLevel;
use serde_json::{Value, json};

use super::metrics::heading;
use crate::{app::App, resource::Resource};

/// One collection's, as JSON.
pub(super) fn json(resource: &Resource) -> Value {
    let judged = resource.hit_rate();
    json!({ "rate": judged.rate, "reads": judged.reads, "level": judged.level.name() })
}

/// All collections', for Prometheus. One that cannot be judged has no figure: a gap is no alarm.
pub(super) fn write(app: &App, page: &mut String) -> fmt::Result {
    let judged: Vec<_> = app
        .resources
        .values()
        .map(|resource| (&resource.name, resource.hit_rate()))
        .filter(|(_, judged)| judged.level != HitLevel::Unknown)
        .collect();
    heading(
        page,
        "larder_hit_rate",
        "gauge",
        "Reads answered by a cache in the window that is judged, 0 to 1.",
    )?;
    for (name, judged) in &judged {
        writeln!(page, "larder_hit_rate{{collection=\"{name}\"}} {}", judged.rate.unwrap_or(1.0))?;
    }
    heading(page, "larder_hit_rate_alarm", "gauge", "0: as it should be. 1: low. 2: very low.")?;
    for (name, judged) in &judged {
        let level = match judged.level {
            HitLevel::Unknown | HitLevel::Good => 0,
            HitLevel::Low => 1,
            HitLevel::VeryLow => 2,
        };
        writeln!(page, "larder_hit_rate_alarm{{collection=\"{name}\"}} {level}")?;
    }
    Ok(())
}
