//! `GET /v1/{collection}`: a page of documents, by typed filters and in a total order.

use std::fmt::Write;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{ETAG, HeaderName, HeaderValue, LINK},
    http::request::Parts,
};
use larder::{
    cache::{Read, ReadMode},
    document::{Etag, Filter, Find, Listing, Query, QueryParser, Unindexed, write_json},
};
use serde_json::json;

use crate::{
    app::App,
    config::Verb,
    routes::{
        Answer, Refusal, body::MediaType, cache_status, call::Call, conditional, parameters,
        read::insert_common,
    },
};

pub(super) static PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says on a list that it can be asked for with QUERY too, and in what (RFC 10008).
pub(super) static ACCEPT_QUERY: HeaderName = HeaderName::from_static("accept-query");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Answers with one page: `items`, and `next` where it continues. Asks the database, unless lists are cached.
///
/// # Errors
/// 400 naming a parameter that is unknown or wrong, a field that cannot be filtered or sorted by (or that this role
/// does not see), a cursor of another query, or a field without an index, where the collection demands one.
pub(crate) async fn page(app: &App, head: &Parts, name: &str) -> Result<Answer, Refusal> {
    let call = Call::enter(app, head, name, Verb::List)?;
    let parameters = parameters::decode(head.uri.query().unwrap_or_default())?;
    let pairs = parameters.iter().map(|(name, value)| (name, value));
    let query = with_parser(&call, |parser| parser.parse(pairs))?;
    let (mut answer, next) = answer(&call, query).await?;
    insert_accept_query(answer.headers_mut());
    if let Some(next) = next
        && let Ok(link) = HeaderValue::try_from(link_to(head.uri.path(), &parameters, &next))
    {
        answer.headers_mut().insert(LINK, link);
    }
    Ok(answer)
}

/// Says that the collection takes queries.
pub(super) fn insert_accept_query(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_QUERY.clone(), HeaderValue::from_static(MediaType::Json.name()));
}

/// Reads a query with what this sender may ask for.
pub(super) fn with_parser<T>(call: &Call<'_>, read: impl FnOnce(&QueryParser<'_>) -> T) -> T {
    let visible = |path: &str| call.access.view.sees(path);
    read(&QueryParser::new(call.resource.schema()).limits(&call.app.query_limits).visible(&visible))
}

/// The page that a query asks for, and the cursor of the next one.
///
/// # Errors
/// 400 for a cursor of another query, an unknown preference, or what no index carries where that is refused.
pub(super) async fn answer(call: &Call<'_>, query: Query) -> Result<(Answer, Option<String>), Refusal> {
    let find = open_find(call, query)?;
    require_index(call, &find).await?;
    let count = wanted_count(&call.head.headers)?;
    let (collection, options) = (&call.resource.collection, call.list_options()?);
    let counted = match (count, &find.filter) {
        (None, _) => None,
        (Some(Count::Estimated), Filter::All) => Some(collection.estimated_count().await?),
        // An estimate of a filter would be a count all the same.
        (Some(_), filter) => list_of(&collection.read_count(filter, &options).await?)?.count,
    };
    let read = collection.read_page(&find, &options).await?;
    let page = list_of(&read)?;
    let next = match &page.next {
        Some(position) => {
            Some(call.app.cursors.seal(&call.resource.name, &find, call.audience(), position)?)
        }
        None => None,
    };
    let mut answer = send(call, options.mode, &read, write_page(call, page, next.as_deref(), counted)?);
    if let Some(count) = count {
        answer.headers_mut().insert(PREFERENCE_APPLIED.clone(), HeaderValue::from_static(count.name()));
    }
    Ok((answer, next))
}

/// What a read of a list came to.
///
/// # Errors
/// 500 if there is nothing, which the library rules out.
pub(super) fn list_of(read: &Read<Listing>) -> Result<&Listing, Refusal> {
    let none = || larder::Error::new(larder::ErrorKind::Corrupt, "a list came without its documents");
    read.value.as_deref().ok_or_else(|| none().into())
}

fn open_find(call: &Call<'_>, query: Query) -> Result<Find, Refusal> {
    let cursor = query.after.clone();
    let mut find = query.into_find(None);
    // Before the cursor is opened, which is of no use then to who may touch other documents.
    find.filter = find.filter.and(call.rows.clone());
    if let Some(cursor) = cursor {
        find.after = Some(call.app.cursors.open(&call.resource.name, &find, call.audience(), &cursor)?);
    }
    Ok(find)
}

/// Refuses a list that no index carries, where the collection demands one.
async fn require_index(call: &Call<'_>, find: &Find) -> Result<(), Refusal> {
    let Some(indexes) = &call.resource.indexes else { return Ok(()) };
    let Some(lack) = indexes.lack_for(&call.resource.collection, find).await else { return Ok(()) };
    let Unindexed { field, keys, is_sort } = lack;
    let what = if is_sort { "sorted" } else { "filtered" };
    let name = &call.resource.name;
    if !call.access.view.sees(&field) {
        // It is one of the sender's rows.
        let detail = format!(
            "lists of \"{name}\" that would read all of it are refused; add a condition on an indexed field"
        );
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid-input", detail));
    }
    let detail = match keys {
        Some(keys) => format!(
            "lists of \"{name}\" that would read all of it are refused: to be {what} by \"{field}\" it lacks the index {keys}"
        ),
        None => format!(
            "lists of \"{name}\" that would read all of it are refused: no index helps to find what a field is not, \
             whether it is there, or words as one of several alternatives; add a condition on an indexed field, such as eq, gt, in \
             or prefix"
        ),
    };
    Err(Refusal::invalid(field, detail))
}

fn write_page(
    call: &Call<'_>,
    page: &Listing,
    next: Option<&str>,
    count: Option<u64>,
) -> Result<Vec<u8>, Refusal> {
    let mut json = b"{\"items\":[".to_vec();
    for (index, item) in page.items.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        if call.access.view.is_whole() {
            write_json(item, call.form, &mut json)?;
        } else {
            write_json(&call.access.view.cut(item)?, call.form, &mut json)?;
        }
        if let Some(max_bytes) = excess(call, &json) {
            let detail = format!(
                "the page is larger than {max_bytes} bytes (limits.max_answer_bytes); ask for fewer documents, or \
                 fewer fields"
            );
            return Err(Refusal::invalid("limit", detail));
        }
    }
    json.extend_from_slice(b"],\"next\":");
    json.extend_from_slice(json!(next).to_string().as_bytes());
    if let Some(count) = count {
        json.extend_from_slice(format!(",\"count\":{count}").as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

/// The most bytes that an answer with several documents may have, if this one has more.
pub(super) fn excess(call: &Call<'_>, json: &[u8]) -> Option<u64> {
    let max_bytes = call.app.limits.max_answer_bytes;
    (json.len() as u64 > max_bytes).then_some(max_bytes)
}

/// The address of the next page: this one's, continued behind the cursor.
pub(super) fn link_to(path: &str, parameters: &[(String, String)], next: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let is_kept = |name: &str| name != "after" && name != "offset";
    query.extend_pairs(parameters.iter().filter(|(name, _)| is_kept(name)));
    query.append_pair("after", next);
    let mut link = String::new();
    // Writing into a string cannot fail.
    let _ = write!(link, "<{path}?{}>; rel=\"next\"", query.finish());
    link
}

/// How the number of all documents that match is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Exact,
    Estimated,
}

impl Count {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "count=exact",
            Self::Estimated => "count=estimated",
        }
    }
}

/// The `count` of a `Prefer` header. Other preferences are ignored, as RFC 7240 has it.
pub(super) fn wanted_count(headers: &HeaderMap) -> Result<Option<Count>, Refusal> {
    for value in headers.get_all(&PREFER) {
        for preference in value.to_str().unwrap_or_default().split([',', ';']) {
            match preference.trim().strip_prefix("count=") {
                None => {}
                Some("exact") => return Ok(Some(Count::Exact)),
                Some("estimated") => return Ok(Some(Count::Estimated)),
                Some(_) => return Err(Refusal::invalid("Prefer", "count must be exact or estimated")),
            }
        }
    }
    Ok(None)
}

/// Sends what a list came to for this sender: with a tag, or as 304, which a POST knows nothing of.
pub(super) fn send(call: &Call<'_>, mode: ReadMode, read: &Read<Listing>, json: Vec<u8>) -> Answer {
    let json = Bytes::from(json);
    let etag = Etag::of(&json);
    let is_unchanged =
        call.head.method != Method::POST && conditional::is_unchanged(&call.head.headers, etag.as_str());
    let mut answer = Response::new(Full::new(if is_unchanged { Bytes::new() } else { json }));
    if is_unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    insert_common(call, answer.headers_mut());
    if call.resource.collection.caches_lists() && mode != ReadMode::Bypass {
        cache_status::insert(answer.headers_mut(), read);
    } else {
        cache_status::insert_bypass(answer.headers_mut());
    }
    let etag = HeaderValue::from_str(etag.as_str()).expect("a tag is a quoted hexadecimal number");
    answer.headers_mut().insert(ETAG, etag);
    answer
}
