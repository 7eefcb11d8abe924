//! Documents and patches from outside: read by the declared types, and checked against what the sender may write.

use bson::{Bson, Document};
use hyper::StatusCode;
use larder::{
    ErrorKind,
    document::{Id, MergePatch},
};

use crate::{
    position,
    routes::{Refusal, call::Call, writable},
    rows,
};

/// Reads a whole document: the one with this id, or a new one.
///
/// # Errors
/// 400 naming the field that is unknown, missing or wrong; 403 naming one that this role may not write, or not with this value.
pub(crate) fn document(call: &Call<'_>, id: Option<&Id>, json: &[u8]) -> Result<Document, Refusal> {
    writable::check(&call.access.creates, json)?;
    let schema = call.access.rows.as_ref().map_or(call.resource.schema(), |rows| rows.reading());
    let mut document = schema.read_document(json).map_err(|error| refuse(call, error, json))?;
    if let (Some(id), true) = (id, call.is_limited()) {
        require_id(call, id, &document)?;
        document.insert("_id", Bson::from(id));
    }
    rows::fill(&call.rows, schema, &call.access.writes, &mut document)?;
    Ok(document)
}

/// Reads a merge patch.
///
/// # Errors
/// As [`document`].
pub(crate) fn patch(call: &Call<'_>, json: &[u8]) -> Result<MergePatch, Refusal> {
    writable::check(&call.access.writes, json)?;
    call.resource.schema().read_patch(json).map_err(|error| refuse(call, error, json))
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

fn refuse(call: &Call<'_>, error: larder::Error, json: &[u8]) -> Refusal {
    if error.kind() != ErrorKind::Invalid || error.field().is_some() {
        return call.refuse(error);
    }
    refuse_text(&error, json)
}

/// What is said of a body that is no JSON, or not of what it has to be.
pub(crate) fn refuse_text(error: &larder::Error, json: &[u8]) -> Refusal {
    let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid-json", error.message());
    let place = position::split(error.message()).1.or_else(|| {
        let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(json).err()?;
        Some((syntax.line(), syntax.column()))
    });
    match place {
        Some((line, column)) => refusal.with_position(line, column),
        None => refusal,
    }
}
