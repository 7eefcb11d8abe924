//! `POST /v1/_purge`: makes the caches forget documents that were changed past Larder.

pub(super) mod order;

use std::time::Duration;

use hyper::{StatusCode, body::Incoming, http::request::Parts};
use larder::{Error, document::Id};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::{
    app::App,
    config::Verb,
    purge::{Purge, Purged},
    routes::{
        Answer, Refusal,
        body::{self, BodyLimit, MediaType},
        call::{Call, insert_tokens},
        fresh,
    },
};

/// What becomes of a purge that Redis did not acknowledge.
const KEPT: &str = "this server keeps the purge, and sends it again until Redis acknowledges it; until then other servers may \
                    serve what they have cached";
const FORGOTTEN: &str =
    "the purge may have been carried out in part, and the rest is not kept; order it again";

/// Purges what the body names, and answers how much that was; 202 if it goes on when the time of the request is over.
///
/// # Errors
/// What [`Call::enter`] refuses; 400 naming the member that is wrong, 413 for too many keys or tags, 415 for another
/// media type; 503 or 504 if Redis did not acknowledge it, which says whether this node keeps it and sends it again. 503 also while
/// too many purges look through all keys.
///
/// # Cancel safety
/// A purge that looks through all keys goes on without its client; of others what was begun is kept and sent again.
pub(crate) async fn run(app: &App, head: &Parts, incoming: Incoming) -> Result<Answer, Refusal> {
    // Earlier than the deadline around every request, which begins with the first wait.
    let deadline = Instant::now() + app.limits.request_deadline;
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
    let mut counts = json!({
        "collection": call.resource.name,
        "mode": if order.soft { "soft" } else { "hard" },
        "keys": ids.len(),
        "tags": order.tags.len(),
        "matched": null,
        "all": order.all,
    });

    let purge = Purge { ids, tags: order.tags, pattern: order.pattern, all: order.all, soft: order.soft };
    let left = if purge.is_kept() { KEPT } else { FORGOTTEN };
    let purged = match purge.is_search() {
        true => search(&call, purge, deadline).await?,
        false => {
            let done = timeout_at(deadline, purge.carry_out(&call.resource.collection)).await;
            Some(done.map_err(|_| Refusal::redis_deadline(left))?)
        }
    };
    let Some(purged) = purged else {
        return Ok(fresh(StatusCode::ACCEPTED, "application/json", counts.to_string()));
    };
    let purged = purged.map_err(|error| refuse(error, left))?;
    counts["matched"] = purged.matched.into();
    let mut answer = fresh(StatusCode::OK, "application/json", counts.to_string());
    insert_tokens(&purged.tokens, answer.headers_mut());
    Ok(answer)
}

/// Has a purge carried out by the server, and waits for it until the deadline. `None` if it goes on after that.
async fn search(
    call: &Call<'_>,
    purge: Purge,
    deadline: Instant,
) -> Result<Option<larder::Result<Purged>>, Refusal> {
    let refuse = |detail| Refusal::busy(detail, Duration::from_secs(1));
    let resource = call.resource;
    let App { purges, runtime, .. } = call.app;
    let begun = purges.begin(runtime, &resource.collection, &resource.name, purge);
    let mut outcome = begun.ok_or_else(|| refuse("too many purges look through all keys; try again"))?;
    match timeout_at(deadline, &mut outcome).await {
        Ok(told) => told.map(Some).map_err(|_| refuse("the purge was cut off; order it again")),
        Err(_) => {
            // From here on what comes of it is logged, unless it came just now.
            outcome.close();
            Ok(outcome.try_recv().ok())
        }
    }
}

fn refuse(error: Error, left: &str) -> Refusal {
    match error.field() {
        Some("policy") => Refusal::invalid(
            "mode",
            "this collection keeps nothing past its time; \"soft\" needs stale_while_revalidate or stale_if_error",
        ),
        _ => Refusal::of_redis(error, left),
    }
}
