//! What the server has: the ids to ask for, and how often it has asked its database.

use bytes::Bytes;
use hyper::StatusCode;
use larder::{Error, ErrorKind, Result};
use serde_json::Value;

use super::client::Target;

/// The most that one list answers with.
const PAGE: u32 = 1_000;

/// A document as the load knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its id as it stands in a path.
    pub(super) id: String,
    /// What the field that writes set holds now, as JSON.
    pub(super) value: Option<String>,
}

/// The first documents of a collection, at most `wanted`.
///
/// # Errors
/// `ErrorKind::Config` if the server refuses the list; `ErrorKind::Unavailable` if it does not answer.
pub(super) async fn documents(
    target: &Target,
    collection: &str,
    write_field: Option<&str>,
    wanted: u32,
) -> Result<Vec<Known>> {
    let mut documents = Vec::new();
    let mut after: Option<String> = None;
    let field = write_field.map(|field| format!(",{field}")).unwrap_or_default();
    while (documents.len() as u32) < wanted {
        let limit = PAGE.min(wanted - documents.len() as u32);
        let cursor = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let answer = target.get(&format!("/v1/{collection}?limit={limit}&fields=_id{field}{cursor}")).await?;
        let page = json(answer, &format!("list {collection}"))?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        documents.extend(items.iter().filter_map(|item| {
            let value = write_field.and_then(|field| item.get(field)).map(Value::to_string);
            Some(Known { id: in_path(&item["_id"])?, value })
        }));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    Ok(documents)
}

/// How many reads have reached the database since the server started; `None` if the key may not know.
///
/// # Errors
/// `ErrorKind::Unavailable` if the server does not answer.
pub(super) async fn source_reads(target: &Target) -> Result<Option<u64>> {
    let (status, body) = target.get("/v1/_stats").await?;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    Ok(json((status, body), "read the figures")?["totals"]["source_loads"].as_u64())
}

fn json((status, body): (StatusCode, Bytes), attempted: &str) -> Result<Value> {
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let detail = answer["detail"].as_str().or(answer["title"].as_str()).unwrap_or("no reason given");
    Err(Error::new(ErrorKind::Config, format!("the server answers {status}: {detail}")).context(attempted))
}

/// An `_id` in relaxed Extended JSON as the text of a path.
fn in_path(id: &Value) -> Option<String> {
    let text = match id {
        Value::Object(typed) => typed.values().next()?.as_str()?.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(text.bytes().map(escape).collect())
}

fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
