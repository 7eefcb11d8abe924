//! What became of tokens and of the keys that verify them, for `/metrics` and `/readyz`.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use super::metrics::heading;
use crate::app::App;

/// Whether tokens can be verified, as JSON.
pub(super) fn json(app: &App) -> Value {
    match app.gate.tokens() {
        None => json!({ "used": false }),
        Some(tokens) if tokens.is_ready() => json!({ "used": true, "up": true }),
        Some(_) => json!({
            "used": true, "up": false,
            "effect": "the issuer's keys were never fetched: requests with tokens are answered with 503",
        }),
    }
}

/// All figures, for Prometheus.
pub(super) fn write(app: &App, page: &mut String) -> fmt::Result {
    let Some(tokens) = app.gate.tokens() else { return Ok(()) };
    let stats = tokens.stats();
    heading(page, "larder_token_keys", "gauge", "Keys that verify tokens.")?;
    writeln!(page, "larder_token_keys {}", tokens.keys())?;
    for (name, help, count) in [
        ("larder_tokens_verified_total", "Tokens that let in and were not known yet.", stats.verified()),
        ("larder_token_key_fetches_total", "Times that the keys were fetched or read.", stats.fetches()),
        ("larder_token_key_fetch_failures_total", "Of these, the ones that failed.", stats.failed_fetches()),
    ] {
        heading(page, name, "counter", help)?;
        writeln!(page, "{name} {count}")?;
    }
    heading(
        page,
        "larder_tokens_refused_total",
        "counter",
        "Requests whose token did not let in, by reason.",
    )?;
    for (reason, count) in stats.refused() {
        writeln!(page, "larder_tokens_refused_total{{reason=\"{reason}\"}} {count}")?;
    }
    Ok(())
}
