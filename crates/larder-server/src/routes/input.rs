//! Documents and patches from outside: read by the declared types, and checked against what the sender may write.

use bson::{Bson, Document};
use hyper::StatusCode;
use larder::{
    ErrorKind,
    document::{Id, MergePatch},
};

use crate::routes::{Refusal, View, call::Call};

/// Reads a whole document.
///
/// # Errors
/// 400 naming the field that is unknown, missing or wrong; 403 naming one that this role may not write.
pub(crate) fn document(call: &Call<'_>, json: &[u8]) -> Result<Document, Refusal> {
    let document = call.resource.schema().read_document(json).map_err(|error| refuse(error, json))?;
    check_writable(&call.access.writes, &document)?;
    Ok(document)
}

/// Reads a merge patch.
///
/// # Errors
/// As [`document`].
pub(crate) fn patch(call: &Call<'_>, json: &[u8]) -> Result<MergePatch, Refusal> {
    let patch = call.resource.schema().read_patch(json).map_err(|error| refuse(error, json))?;
    check_writable(&call.access.writes, patch.changes())?;
    Ok(patch)
}

/// Checks that a document, if it has an id, has the one in its address.
///
/// # Errors
/// 400 naming `_id`.
pub(crate) fn require_id(call: &Call<'_>, id: &Id, document: &Document) -> Result<(), Refusal> {
    match document.get("_id") {
        Some(value) if call.resource.schema().id_type().read(value)? != *id => {
            Err(Refusal::invalid("_id", "must be the id in the address, or be left out"))
        }
        _ => Ok(()),
    }
}

fn refuse(error: larder::Error, json: &[u8]) -> Refusal {
    if error.kind() != ErrorKind::Invalid || error.field().is_some() {
        return error.into();
    }
    let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid-json", error.message());
    match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        Ok(_) => refusal,
        Err(syntax) => refusal.with_position(syntax.line(), syntax.column()),
    }
}

/// Checks every leaf. An object that is merged counts by what is in it; an array, or an object that is empty, replaces
/// what is there, and counts as a whole.
fn check_writable(writes: &View, document: &Document) -> Result<(), Refusal> {
    if writes.is_whole() { Ok(()) } else { check_below(writes, document, &mut String::new()) }
}

fn check_below(writes: &View, document: &Document, path: &mut String) -> Result<(), Refusal> {
    for (name, value) in document {
        let parent_len = path.len();
        if parent_len > 0 {
            path.push('.');
        }
        path.push_str(name);
        match value {
            Bson::Document(below) if !below.is_empty() => check_below(writes, below, path)?,
            _ if writes.sees(path) => {}
            _ => {
                return Err(
                    Refusal::forbidden("this role may not write this field").with_field(path.as_str())
                );
            }
        }
        path.truncate(parent_len);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn what_may_not_be_written_is_found_at_every_depth() {
        let writes = View::new(None, vec!["maker.margin".to_owned(), "cost".to_owned()]);
        for (document, allowed) in [
            (doc! { "_id": 1, "name": "a", "maker": { "country": "NL" } }, true),
            (doc! { "cost": 1 }, false),
            (doc! { "maker": { "margin": 1 } }, false),
            (doc! { "maker": {} }, false),
            (doc! { "maker": null }, false),
            (doc! { "maker": [1] }, false),
        ] {
            assert_eq!(check_writable(&writes, &document).is_ok(), allowed, "{document}");
        }
    }
}
