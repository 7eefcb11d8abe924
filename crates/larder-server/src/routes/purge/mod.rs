//! `POST /v1/_purge`: makes the caches forget documents that were changed past Larder.

pub(super) mod order;

use hyper::{StatusCode, body::Incoming, http::request::Parts};
use larder::{Error, document::Id};
use serde_json::json;

use crate::{
    app::App,
    config::Verb,
    purge::Purge,
    routes::{
        Answer, Refusal,
        body::{self, BodyLimit, MediaType},
        call::{Call, insert_tokens},
        fresh,
    },
};

/// Purges what the body names, and answers how much that was.
///
/// # Errors
/// What [`Call::enter`] refuses; 400 naming the member that is wrong, 413 for too many keys or tags, 415 for another
/// media type; 503 or 504 if Redis did not acknowledge it: this node keeps keys, tags and `all` then, and sends them again.
pub(crate) async fn run(app: &App, head: &Parts, incoming: Incoming) -> Result<Answer, Refusal> {
    Call::require_somewhere(app, head, Verb::Purge)?;
    MediaType::of(&head.headers, &[MediaType::Json])?;
    let body = body::read(app, &head.headers, incoming, BodyLimit::One).await?;
    let order = order::read(&body)?;
    let call = Call::enter(app, head, &order.collection, Verb::Purge)?;
    let id_type = call.resource.schema().id_type();
    let read = |(index, key): (usize, &String)| {
        let wrong = |error: Error| Refusal::invalid(format!("keys[{index}]"), error.message());
        id_type.parse(key).map_err(wrong)
    };
    let ids = order.keys.iter().enumerate().map(read).collect::<Result<Vec<Id>, _>>()?;
    let ids: Vec<&Id> = ids.iter().collect();

    let purge = Purge {
        ids: &ids,
        tags: &order.tags,
        pattern: order.pattern.as_deref(),
        all: order.all,
        soft: order.soft,
    };
    let purged = purge.carry_out(&call.resource.collection).await.map_err(refuse)?;
    let body = json!({
        "collection": call.resource.name,
        "mode": if order.soft { "soft" } else { "hard" },
        "keys": ids.len(),
        "tags": order.tags.len(),
        "matched": purged.matched,
        "all": order.all,
    });
    let mut answer = fresh(StatusCode::OK, "application/json", body.to_string());
    insert_tokens(&purged.tokens, answer.headers_mut());
    Ok(answer)
}

fn refuse(error: Error) -> Refusal {
    match error.field() {
        Some("policy") => Refusal::invalid(
            "mode",
            "this collection keeps nothing past its time; \"soft\" needs stale_while_revalidate or stale_if_error",
        ),
        _ => error.into(),
    }
}
