//! `POST /v1/{collection}`: a new document.

use hyper::{body::Incoming, http::request::Parts};

use crate::{
    app::App,
    config::Verb,
    routes::{
        Answer, Refusal,
        body::{self, MediaType},
        call::Call,
        input, write,
    },
};

/// Creates one document: 201, with `Location`. Without an `_id` it gets one, if the collection's ids are ObjectIds.
///
/// # Errors
/// 400 naming the field that is wrong, 409 if the id is taken, 415 and 413 for the body.
pub(crate) async fn one(app: &App, head: &Parts, name: &str, incoming: Incoming) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Create)?;
    let body = body::read_one(app, &head.headers, incoming, MediaType::Json).await?;
    let document = input::document(&call, None, &body)?;
    let inserted = call.resource.collection.insert(document).await.map_err(|error| call.refuse(error))?;
    write::created(&call, &inserted.id, &inserted.document)
}
