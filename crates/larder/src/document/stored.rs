//! One document as the cache holds it: raw BSON, with its ETag and its JSON text made on first use.

use std::{fmt, sync::OnceLock};

use bson::{RawDocument, RawDocumentBuf};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    json::{JsonForm, to_json},
    raw,
};
use crate::Result;

/// A document, immutable, shared by everyone who reads it.
pub struct StoredDocument {
    raw: RawDocumentBuf,
    json: OnceLock<Bytes>,
    etag: OnceLock<Etag>,
}

/// A strong entity tag: the hash of a document's bytes, in the quoted form that HTTP uses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag(String);

impl Etag {
    /// The tag of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("\"{:032x}\"", xxh3_128(bytes)))
    }
    /// A tag as a client sent it, with its quotes.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The quoted text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StoredDocument {
    /// Wraps raw BSON, checked once here so that every later use is sound.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` if the bytes are not BSON.
    pub fn new(raw: RawDocumentBuf) -> Result<Self> {
        raw::validate(raw.as_bytes())?;
        Ok(Self { raw, json: OnceLock::new(), etag: OnceLock::new() })
    }
    /// The raw BSON.
    pub fn raw(&self) -> &RawDocument {
        &self.raw
    }
    /// The strong entity tag of this state of the document.
    pub fn etag(&self) -> &Etag {
        self.etag.get_or_init(|| Etag::of(self.raw.as_bytes()))
    }
    /// The document as relaxed Extended JSON, made once and shared by all later readers.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            to_json(&self.raw, JsonForm::Relaxed).expect("the bytes were checked when the document was made")
        })
    }
}

impl fmt::Debug for StoredDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredDocument").field("bytes", &self.raw.as_bytes().len()).finish_non_exhaustive()
    }
}
