//! `GET /v1/{collection}/{id}`: the hot path. A near hit formats nothing and copies no document.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, VARY},
    http::request::Parts,
};
use larder::{
    cache::{ReadMode, ReadOptions},
    document::{Etag, Id, JsonForm, StoredDocument, to_json},
};

use crate::{
    app::App,
    config::Verb,
    routes::{Answer, Refusal, cache_status, call::Call, conditional, parameters},
};

/// Answers with one document.
///
/// # Errors
/// What [`Call::enter`] refuses; 400 for an id or a parameter that cannot be read; 503 or 504 from the database.
pub(crate) async fn one(app: &App, head: &Parts, name: &str, id: &str) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::Read)?;
    let id = call.parse_id(id)?;
    let asked = match head.uri.query() {
        None => None,
        Some(query) => parameters::only_fields(&call, query)?,
    };
    let mode = call.read_mode();
    let options = ReadOptions { mode, at_least: call.at_least(&id)?, ..ReadOptions::default() };
    let collection = &call.resource.collection;
    // A part may lack what says whose the document is.
    let partial = asked.as_deref().filter(|_| !call.is_limited());
    let partial = partial.and_then(|asked| collection.partial_with(asked));
    let read = match partial {
        None => collection.read(&id, &options).await?,
        Some(partial) => collection.read_partial(partial, &id, &options).await?,
    };

    let mut answer = match &read.value {
        Some(document) if call.rows.matches(document.raw())? => represent(&call, document, asked.as_deref())?,
        // No header tells a document that is not there from one that is another's.
        _ if call.is_limited() => return Ok(absent().into_answer()),
        _ => absent().into_answer(),
    };
    match mode {
        ReadMode::Bypass => cache_status::insert_bypass(answer.headers_mut()),
        ReadMode::Cached | ReadMode::Refresh => cache_status::insert(answer.headers_mut(), &read),
    }
    Ok(answer)
}

/// 404: there is no such document, or none that the sender may touch.
pub(super) fn absent() -> Refusal {
    Refusal::not_found("there is no document with this id")
}

/// A document as this sender sees it, or 304 if that is what it has already.
pub(super) fn represent(
    call: &Call<'_>,
    document: &StoredDocument,
    asked: Option<&[String]>,
) -> Result<Answer, Refusal> {
    let shown = show(call, document, asked)?;
    let is_unchanged = conditional::is_unchanged(&call.head.headers, shown.etag().as_str());
    let mut answer = if is_unchanged {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        Response::new(Full::new(shown.json()))
    };
    insert_common(call, answer.headers_mut());
    answer.headers_mut().insert(ETAG, shown.etag_value());
    Ok(answer)
}

/// A document after a write, as its sender sees it.
pub(super) fn represent_written(
    call: &Call<'_>,
    id: &Id,
    document: &StoredDocument,
) -> Result<Answer, Refusal> {
    let shown = show(call, document, None)?;
    let mut answer = Response::new(Full::new(shown.json()));
    insert_common(call, answer.headers_mut());
    answer.headers_mut().insert(ETAG, shown.etag_value());
    call.insert_token(id, answer.headers_mut());
    Ok(answer)
}

/// One document in the form in which it is sent.
pub(super) enum Shown<'a> {
    /// The whole document, as the cache holds it.
    Whole(&'a StoredDocument),
    /// A part of it.
    Part(StoredDocument),
    /// Another form, with a tag of its own.
    Canonical(Bytes, Etag),
}

impl Shown<'_> {
    pub(super) fn etag(&self) -> &Etag {
        match self {
            Self::Whole(document) => document.etag(),
            Self::Part(document) => document.etag(),
            Self::Canonical(_, etag) => etag,
        }
    }

    fn etag_value(&self) -> HeaderValue {
        HeaderValue::from_str(self.etag().as_str()).expect("a tag is a quoted hexadecimal number")
    }

    fn json(&self) -> Bytes {
        match self {
            Self::Whole(document) => document.json().clone(),
            Self::Part(document) => document.json().clone(),
            Self::Canonical(json, _) => json.clone(),
        }
    }
}

/// The part of a document that this sender sees and asked for, in the form it asked for. A part has a tag of its own:
/// the whole document's tag would let a guess at a hidden field be checked.
pub(super) fn show<'a>(
    call: &Call<'_>,
    document: &'a StoredDocument,
    asked: Option<&[String]>,
) -> Result<Shown<'a>, Refusal> {
    let view = &call.access.view;
    let part = match asked {
        Some(asked) => Some(StoredDocument::new(view.narrow(asked).cut(document.raw())?)?),
        None if view.is_whole() => None,
        None => Some(StoredDocument::new(view.cut(document.raw())?)?),
    };
    match (call.form, part) {
        (JsonForm::Relaxed, None) => Ok(Shown::Whole(document)),
        (JsonForm::Relaxed, Some(part)) => Ok(Shown::Part(part)),
        (JsonForm::Canonical, part) => {
            let json = to_json(part.as_ref().unwrap_or(document).raw(), JsonForm::Canonical)?;
            let etag = Etag::of(&json);
            Ok(Shown::Canonical(json, etag))
        }
    }
}

/// The headers that every answer with data has.
pub(super) fn insert_common(call: &Call<'_>, headers: &mut HeaderMap) {
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(match call.form {
            JsonForm::Relaxed => "application/json",
            JsonForm::Canonical => "application/ejson",
        }),
    );
    headers.insert(CACHE_CONTROL, call.resource.cache_control.clone());
    headers.insert(VARY, HeaderValue::from_static("Accept, Authorization, X-API-Key"));
}
