//! Documents: raw BSON, JSON in and out, merge patches.

use bson::{Document, RawDocument, RawDocumentBuf, doc};

use super::{open_schema, schema};
use crate::{
    ErrorKind,
    document::{
        JsonForm, MAX_DOCUMENT_BYTES, Schema,
        lists::{read_listing, write_listing},
        raw, to_json,
    },
};

/// BSON that is called sound is sound for every later reader, and its JSON reads back as what was written.
pub fn bson(data: &[u8]) {
    if raw::validate(data).is_err() {
        return;
    }
    let document = RawDocument::from_bytes(data).expect("sound BSON is a document for the driver");
    Document::try_from(document).expect("sound BSON is a tree for the driver");
    for form in [JsonForm::Relaxed, JsonForm::Canonical] {
        let json = to_json(document, form).expect("sound BSON can be written");
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok(), "what is written is JSON");
        // Names with `$` may say something else in JSON than in BSON, and `_id` moves to the front.
        let plain = !data.contains(&b'$') && !data.windows(3).any(|name| name == b"_id");
        if let Ok(again) = open_schema().read_raw(&json)
            && plain
        {
            assert_eq!(to_json(&again, form).expect("what was read can be written"), json);
        }
    }
}

/// A document that was taken in is sound, fits its declaration, and survives the way out and in again.
pub fn ingest(data: &[u8]) {
    for schema in [schema(), open_schema()] {
        let Ok(raw) = schema.read_raw(data) else { continue };
        check(&schema, &raw);
        let canonical = to_json(&raw, JsonForm::Canonical).expect("what was read can be written");
        let again = schema.read_raw(&canonical).unwrap_or_else(|error| panic!("{error}: {canonical:?}"));
        assert_eq!(again.as_bytes(), raw.as_bytes(), "{canonical:?}");
        if !schema.is_strict() {
            let relaxed = to_json(&raw, JsonForm::Relaxed).expect("what was read can be written");
            let again = schema.read_raw(&relaxed).unwrap_or_else(|error| panic!("{error}: {relaxed:?}"));
            assert_eq!(to_json(&again, JsonForm::Relaxed).expect("what was read can be written"), relaxed);
        }
    }
}

/// A list that is read from what Redis has is sound, and is read again as it was when it is stored once more.
pub fn listing(data: &[u8]) {
    let Some(listing) = read_listing(data) else { return };
    for item in &listing.items {
        assert_eq!(raw::validate(item.as_bytes()), Ok(()));
    }
    let stored = write_listing(&listing).expect("what was read can be stored");
    let again = read_listing(&stored).expect("what was stored can be read");
    // By its bytes: not every number is equal to itself.
    assert_eq!(write_listing(&again).expect("it can be stored again"), stored);
}

fn check(schema: &Schema, raw: &RawDocumentBuf) {
    assert!(raw.as_bytes().len() <= MAX_DOCUMENT_BYTES);
    assert_eq!(raw::validate(raw.as_bytes()), Ok(()));
    let document = Document::try_from(raw.as_ref()).expect("what was read is a tree");
    schema.check(&document).unwrap_or_else(|error| panic!("{error}: {document}"));
    schema.check_raw(raw).unwrap_or_else(|error| panic!("{error}: {document}"));
}

/// A patched document still has its id and fits its declaration, and the same patch once more changes nothing.
pub fn patch(data: &[u8]) {
    let base = doc! {
        "_id": 7_i64, "name": "a", "stock": 3, "maker": { "name": "b" }, "tags": ["x"], "more": { "a": { "b": 1 } },
    };
    let base = RawDocumentBuf::try_from(base).expect("the document is sound");
    let schema = schema();
    let Ok(patch) = schema.read_patch(data) else { return };
    let once = match patch.apply(&base, &schema) {
        Ok(once) => once,
        // A nested object that it makes may lack what is required there.
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    };
    check(&schema, &once);
    assert_eq!(once.get_i64("_id").ok(), Some(7));
    let twice = patch.apply(&once, &schema).expect("a patch can be applied again");
    assert_eq!(twice.as_bytes(), once.as_bytes());
    if patch.is_empty() {
        assert_eq!(once.as_bytes(), base.as_bytes());
    }
}
