//! BSON to relaxed Extended JSON, written straight from the raw bytes; and JSON to BSON by the declared types.

use bson::RawDocument;
use bytes::Bytes;

/// Renders a raw document as relaxed Extended JSON.
pub(crate) fn to_bytes(_raw: &RawDocument) -> Bytes {
    unimplemented!()
}
