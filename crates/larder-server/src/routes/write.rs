//! `PUT`, `PATCH` and `DELETE /v1/{collection}/{id}`. Every condition is checked by the database together with the write.

use std::sync::Arc;

use bson::Bson;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, IF_MATCH, LOCATION},
    http::request::Parts,
};
use larder::{
    ErrorKind,
    cache::{ReadMode, ReadOptions},
    document::{Etag, Expect, Id, JsonForm, StoredDocument, Written},
};

use crate::{
    app::App,
    config::Verb,
    routes::{
        Answer, Refusal,
        body::{self, MediaType},
        call::Call,
        conditional::{self, Tags},
        input,
        read::{self, show},
    },
    rows,
};

/// Puts a whole document under its id, new or not: 201 or 200, or 204 for a role that may not read it.
///
/// # Errors
/// 400 naming the field that is wrong, 412 if a condition does not hold, 428 if there has to be one, 415 and 413 for the body.
pub(crate) async fn put(
    app: &App,
    head: &Parts,
    name: &str,
    id: &str,
    incoming: Incoming,
) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Replace)?;
    let id = call.parse_id(id)?;
    let must_be_new = conditional::must_be_new(&head.headers)?;
    if !must_be_new {
        require_if_match(&call)?;
    }
    let body = body::read_one(app, &head.headers, incoming, MediaType::Json).await?;
    let mut document = input::document(&call, Some(&id), &body)?;
    let collection = &call.resource.collection;
    let own = collection.within(&call.rows);
    if must_be_new {
        input::require_id(&call, &id, &document)?;
        document.insert("_id", Bson::from(&id));
        let inserted = collection.insert(document).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict if error.field().is_none_or(|field| field == "_id") => Refusal::exists(),
            _ => call.refuse(error),
        })?;
        return created(&call, &id, &inserted.document);
    }
    match expect_of(&call, &id).await? {
        Expect::Any => {
            let put = own.put(&id, document).await.map_err(|error| call.refuse(error))?;
            if put.created {
                created(&call, &id, &put.document)
            } else {
                represent(&call, &id, &put.document)
            }
        }
        expect => {
            let written = own.replace(&id, document, &expect).await.map_err(|error| call.refuse(error))?;
            represent(&call, &id, &*done(written, &expect)?)
        }
    }
}

/// Changes parts of a document, as RFC 7396 says: null removes a field, an object is merged, all else replaces.
///
/// # Errors
/// As [`put`], and 404 if there is no such document.
pub(crate) async fn patch(
    app: &App,
    head: &Parts,
    name: &str,
    id: &str,
    incoming: Incoming,
) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Patch)?;
    let id = call.parse_id(id)?;
    require_if_match(&call)?;
    let body = body::read_one(app, &head.headers, incoming, MediaType::MergePatch).await?;
    let patch = input::patch(&call, &body)?;
    let expect = expect_of(&call, &id).await?;
    let patched = call.resource.collection.within(&call.rows).patch(&id, &patch, &expect).await;
    let written = match patched.map_err(|error| call.refuse(error))? {
        Written::Outside => return Err(rows::refuse_patch(&call.rows, &patch)),
        written => written,
    };
    represent(&call, &id, &*done(written, &expect)?)
}

/// Deletes a document: 204.
///
/// # Errors
/// 404 if there is none, 412 if a condition does not hold, 428 if there has to be one.
pub(crate) async fn delete(app: &App, head: &Parts, name: &str, id: &str) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Delete)?;
    let id = call.parse_id(id)?;
    require_if_match(&call)?;
    let expect = expect_of(&call, &id).await?;
    done(call.resource.collection.within(&call.rows).delete(&id, &expect).await?, &expect)?;
    Ok(no_content(&call, &id))
}

/// A document after a write. A role that may not read it is told that it was written, and neither its content nor its tag:
/// an empty patch would read it.
fn represent(call: &Call<'_>, id: &Id, document: &StoredDocument) -> Result<Answer, Refusal> {
    if call.access.allows(Verb::Read) {
        read::represent_written(call, id, document)
    } else {
        Ok(no_content(call, id))
    }
}

fn no_content(call: &Call<'_>, id: &Id) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    call.insert_token(id, answer.headers_mut());
    answer
}

/// 201, with where the document now is.
pub(super) fn created(call: &Call<'_>, id: &Id, document: &StoredDocument) -> Result<Answer, Refusal> {
    let mut answer = represent(call, id, document)?;
    *answer.status_mut() = StatusCode::CREATED;
    let location = format!("/v1/{}/{}", call.resource.name, encode_segment(&id.to_string()));
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

fn encode_segment(id: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(id, KEPT).to_string()
}

fn done(written: Written, expect: &Expect) -> Result<Arc<StoredDocument>, Refusal> {
    match written {
        Written::Done(document) => Ok(document),
        Written::Missing if *expect == Expect::Any => Err(read::absent()),
        Written::Missing | Written::Changed => Err(Refusal::precondition()),
        // Whole documents were looked at before.
        Written::Outside => Err(Refusal::forbidden("this role may not have such a document")),
    }
}

/// Refuses a write without `If-Match` where the collection demands one, before anything is read: neither the body nor the
/// document decides it. A header that cannot be read is left to [`expect_of`].
fn require_if_match(call: &Call<'_>) -> Result<(), Refusal> {
    if !call.resource.requires_if_match || call.head.headers.contains_key(IF_MATCH) {
        return Ok(());
    }
    let how = if call.access.allows(Verb::Read) {
        "send the ETag that a GET of this document answers with, or \"*\" for whatever state it is in"
    } else {
        "send \"*\", which this role can for it may not read documents"
    };
    let or =
        if call.head.method == Method::PUT { "; to create a document send If-None-Match: *" } else { "" };
    let detail = format!("documents of \"{}\" are changed with If-Match only: {how}{or}", call.resource.name);
    Err(Refusal::precondition_required(detail))
}

/// What `If-Match` expects of the document.
///
/// A tag names what its sender was shown. Where that was the whole document in the usual form, the database can compare
/// it itself. Where it was a part or another form, the document is read, shown once more and compared; the write then
/// expects exactly the state that was compared.
///
/// A role that may not read was never given a tag: what it sends is a guess, and the answer would say whether it is right.
async fn expect_of(call: &Call<'_>, id: &Id) -> Result<Expect, Refusal> {
    let tags = match conditional::if_match(&call.head.headers)? {
        None => return Ok(Expect::Any),
        Some(Tags::Any) => return Ok(Expect::Present),
        Some(_) if !call.access.allows(Verb::Read) => {
            let detail = "this role may not read documents, so it can only send \"*\" here";
            return Err(Refusal::forbidden(detail).with_field("If-Match"));
        }
        Some(tags) => tags,
    };
    let is_usual = call.access.view.is_whole() && call.form == JsonForm::Relaxed;
    if let (true, Tags::List(list)) = (is_usual, &tags)
        && let [tag] = list.as_slice()
    {
        return if tag.starts_with('"') {
            Ok(Expect::Etag(Etag::from_text(tag)))
        } else {
            Err(Refusal::precondition())
        };
    }
    let options = ReadOptions { mode: ReadMode::Bypass, ..ReadOptions::default() };
    let Some(current) = call.resource.collection.read(id, &options).await?.value else {
        return Err(Refusal::precondition());
    };
    if !call.rows.matches(current.raw())? {
        return Err(Refusal::precondition());
    }
    if tags.contains_strong(show(call, &current, None)?.etag().as_str()) {
        return Ok(Expect::Etag(current.etag().clone()));
    }
    Err(Refusal::precondition())
}
