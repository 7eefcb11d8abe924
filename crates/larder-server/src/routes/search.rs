//! Lists by a body: `QUERY /v1/{collection}` (RFC 10008), and `POST /v1/{collection}/_search` for who cannot send that.

use hyper::{HeaderMap, Method, StatusCode, body::Incoming, header::CONTENT_TYPE, http::request::Parts};
use larder::document::Query;

use crate::{
    app::App,
    config::Verb,
    routes::{
        Answer, Refusal,
        body::{self, BodyLimit, MediaType},
        call::Call,
        input, list, parameters,
    },
};

/// Answers as [`list::page`] does, but for the link to the next page: that is asked for with `after` in the body.
///
/// # Errors
/// As [`list::page`], naming a member of the body or a field; 400 naming a parameter in the address; 413 and 415 for the body.
pub(crate) async fn page(app: &App, head: &Parts, name: &str, incoming: Incoming) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::List)?;
    if let Some((parameter, _)) = parameters::decode(head.uri.query().unwrap_or_default())?.first() {
        return Err(Refusal::invalid(
            parameter,
            "cannot stand in the address beside a body, which says it all",
        ));
    }
    let query = read(&call, incoming).await?;
    let (mut answer, _) = list::answer(&call, query).await?;
    if head.method == Method::QUERY {
        list::insert_accept_query(answer.headers_mut());
    }
    Ok(answer)
}

/// Reads the query; the room of its body is free again when the database is asked.
async fn read(call: &Call<'_>, incoming: Incoming) -> Result<Query, Refusal> {
    let headers = &call.head.headers;
    require_json(headers, call.head.method == Method::QUERY)?;
    let body = body::read(call.app, headers, incoming, BodyLimit::One).await?;
    list::with_parser(call, |parser| parser.parse_body(&body)).map_err(|error| match error.field() {
        Some(_) => error.into(),
        None => input::refuse_text(&error, &body),
    })
}

/// A QUERY that does not say what its body is means nothing (RFC 10008, section 2.1).
fn require_json(headers: &HeaderMap, is_query: bool) -> Result<(), Refusal> {
    if is_query && !headers.contains_key(CONTENT_TYPE) {
        let detail = format!("must say what the body is: {}", MediaType::Json.name());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid-input", detail).with_field("Content-Type"));
    }
    let refuse = |refusal: Refusal| match is_query {
        true => refusal.with_header(list::ACCEPT_QUERY.clone(), MediaType::Json.name()),
        false => refusal,
    };
    MediaType::of(headers, &[MediaType::Json]).map_err(refuse)?;
    Ok(())
}
