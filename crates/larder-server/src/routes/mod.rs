//! The HTTP face: from the head of a request to its answer.
//!
//! Dispatch is by hand. A router, extractors and layers would make a near hit slower; here it is a few comparisons on
//! the path, one look into the cache, and headers that exist already.

mod advise;
mod alarms;
mod aside;
mod audited;
mod body;
mod bulk;
mod cache_status;
mod call;
mod conditional;
mod cors;
mod create;
mod elements;
mod explain;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health;
mod host;
mod input;
mod kept;
mod list;
mod metrics;
mod openapi;
mod overdue;
mod page;
mod parameters;
mod purge;
mod query;
mod read;
mod refusal;
mod search;
mod stats;
mod target;
mod tokens;
mod top;
mod view;
mod watched;
mod writable;
mod write;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    http::request::Parts,
};

pub(crate) use self::{
    body::BodyRoom, cors::Cors, kept::kept, overdue::KeptTimer, refusal::Refusal, stats::sample, view::View,
};
use self::{body::MediaType, target::Target};
use crate::{app::App, telemetry::Route};

/// What is sent back. Bodies are whole: nothing here streams.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers one request. Never fails: whatever goes wrong is an answer too.
///
/// # Cancel safety
/// A client that goes away drops this future. A load that it began goes on for others; a write that was sent may
/// still happen.
pub(crate) async fn answer(app: &Arc<App>, timer: &KeptTimer, head: &Parts, body: Incoming) -> Answer {
    let started = Instant::now();
    let target = target_of(head);
    let route = target.route(&head.method);
    let is_read = matches!(head.method, Method::GET | Method::HEAD) || route == Route::List;
    let mut answer = match app.telemetry.slots.try_take() {
        Some(_slot) => {
            let work = pin!(dispatch(app, head, target, body));
            let answered = timer.within(app.limits.request_deadline, work).await;
            answered.unwrap_or_else(|| Err(Refusal::deadline())).unwrap_or_else(|refusal| {
                let refusal = if is_read { refusal.of_read() } else { refusal };
                refusal.into_answer()
            })
        }
        None => {
            Refusal::busy("the server has as many requests as it takes", Duration::from_secs(1)).into_answer()
        }
    };
    if let Some(cors) = &app.cors {
        cors.mark(head, &mut answer);
    }
    app.telemetry.record(route, answer.status(), started.elapsed());
    answer
}

fn target_of(head: &Parts) -> Target<'_> {
    Target::of(head.uri.path(), head.method == Method::POST)
}

async fn dispatch(
    app: &Arc<App>,
    head: &Parts,
    target: Target<'_>,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let length = head.uri.path().len() + head.uri.query().map_or(0, str::len);
    if length as u64 > app.limits.max_uri_bytes {
        let detail = format!("path and query may have at most {} bytes", app.limits.max_uri_bytes);
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "uri-too-long", detail));
    }
    if app.gate.is_open() {
        host::require_loopback(head)?;
    }
    match (target, &head.method) {
        (Target::Item { collection, id }, &Method::GET | &Method::HEAD) => {
            read::one(app, head, collection, id).await
        }
        (_, &Method::OPTIONS) => Ok(options(target)),
        // Here, where the request's deadline rings: it answers just before that.
        (Target::Purge, &Method::POST) => Box::pin(purge::run(app, head, body)).await,
        // Boxed, so that the hot path does not carry the state of all the others around.
        _ => Box::pin(aside::carry_out(app, head.clone(), body)).await,
    }
}

async fn dispatch_others(app: &App, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
    match (target_of(head), &head.method) {
        (Target::Item { collection, id }, &Method::PUT) => write::put(app, head, collection, id, body).await,
        (Target::Item { collection, id }, &Method::PATCH) => {
            write::patch(app, head, collection, id, body).await
        }
        (Target::Item { collection, id }, &Method::DELETE) => write::delete(app, head, collection, id).await,
        (Target::Collection(name), &Method::GET | &Method::HEAD) => list::page(app, head, name).await,
        (Target::Collection(name), &Method::POST) => create::one(app, head, name, body).await,
        (Target::Collection(name), &Method::QUERY) | (Target::Search(name), &Method::POST) => {
            search::page(app, head, name, body).await
        }
        (Target::Bulk(name), &Method::POST) => bulk::insert(app, head, name, body).await,
        (Target::Query { collection, name }, &Method::GET | &Method::HEAD) => {
            query::run(app, head, collection, name).await
        }
        (Target::Explain { collection, id }, &Method::GET | &Method::HEAD) => {
            explain::key(app, head, collection, id).await
        }
        (Target::Own(path), method) => own(app, head, path, method).await,
        (target, _) => Err(Refusal::method(target.allow())),
    }
}

async fn own(app: &App, head: &Parts, path: &str, method: &Method) -> Result<Answer, Refusal> {
    let is_read = method == Method::GET || method == Method::HEAD;
    match path {
        "/healthz" | "/readyz" | "/openapi.json" | "/metrics" | "/v1/_stats" | "/v1/_top" | "/v1/_advise"
            if !is_read =>
        {
            Err(Refusal::method("GET, HEAD, OPTIONS"))
        }
        "/healthz" => Ok(health::alive()),
        "/readyz" => Ok(health::ready(app).await),
        "/openapi.json" => openapi::document(app, head),
        "/metrics" => metrics::text(app, head),
        "/v1/_stats" => stats::json(app, head),
        "/v1/_advise" => advise::json(app, head),
        "/v1/_top" => top::json(app, head),
        _ => page::find(path, is_read),
    }
}

fn options(target: Target<'_>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(target.allow()));
    match target {
        Target::Item { .. } => {
            let taken = HeaderValue::from_static(MediaType::MergePatch.name());
            answer.headers_mut().insert("accept-patch", taken);
        }
        Target::Collection(_) => list::insert_accept_query(answer.headers_mut()),
        _ => {}
    }
    answer
}

/// An answer of the server itself, which nobody may keep.
fn fresh(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
