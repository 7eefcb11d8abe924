//! `/v1/_explain/{collection}/{id}`: what each tier knows of one document.

use hyper::{StatusCode, http::request::Parts};
use larder::cache::{PurgedBy, TierState};
use serde_json::{Value, json};

use crate::{
    app::App,
    routes::{Answer, Refusal, fresh, stats::require_admin, target::decode},
};

/// Answers with the state of one key. Reads nothing from the database and changes nothing.
///
/// # Errors
/// 401 or 403 for a role that is not an administrator's; 404 for a collection that does not exist; 400 for an id that
/// cannot be read.
pub(crate) async fn key(app: &App, head: &Parts, collection: &str, id: &str) -> Result<Answer, Refusal> {
    require_admin(app, head)?;
    let Some(resource) = app.resources.get(collection) else {
        return Err(Refusal::not_found("there is no such collection"));
    };
    let id = resource.schema().id_type().parse(&decode("_id", id)?)?;
    let explain = resource.collection.explain(&id).await;
    let body = json!({
        "collection": resource.name,
        "key": explain.key,
        "near": tier(&explain.near),
        "shared": explain.shared.as_ref().map(tier),
        "redis_key": explain.slot_key,
        "last_miss": explain.last_seen.map(|reason| reason.name()),
        "tags": (!explain.tags.is_empty()).then_some(explain.tags),
        "purged_by": explain.purged_by.map(|by| match by {
            PurgedBy::Clear => "a purge of the whole collection".to_owned(),
            PurgedBy::Tag(Some(tag)) => format!("a purge of the tag {tag}"),
            PurgedBy::Tag(None) => "a purge of a tag".to_owned(),
        }),
        "refresh_lease_runs_out_in_ms": explain.refreshing_for.map(|left| left.as_millis() as u64),
        "invalidation_owed": explain.invalidation_owed,
    });
    Ok(fresh(StatusCode::OK, "application/json", body.to_string()))
}

fn tier(state: &TierState) -> Value {
    match state {
        TierState::Off => json!({ "state": "off" }),
        TierState::Empty => json!({ "state": "empty" }),
        TierState::Holds { present, age, fresh_for, kept_for, size } => json!({
            "state": if *present { "document" } else { "known to be absent" },
            "age_ms": age.as_millis() as u64,
            "fresh_for_ms": fresh_for.as_millis() as u64,
            "kept_for_ms": kept_for.as_millis() as u64,
            "bytes": size,
        }),
        TierState::Leased { runs_out_in } => {
            json!({ "state": "being loaded", "lease_runs_out_in_ms": runs_out_in.as_millis() as u64 })
        }
        TierState::Purged => json!({ "state": "purged" }),
        TierState::Blocked { runs_out_in } => {
            json!({ "state": "being written", "block_runs_out_in_ms": runs_out_in.as_millis() as u64 })
        }
        TierState::Corrupt(what) => json!({ "state": "corrupt", "detail": what }),
        TierState::Unreachable(why) => json!({ "state": "unreachable", "detail": why }),
    }
}
