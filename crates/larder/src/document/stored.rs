//! One document as the cache holds it: raw BSON, with its ETag and its JSON text made on first use.

use std::{fmt, sync::OnceLock};

use bson::{RawDocument, RawDocumentBuf};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::{json::json_of_checked, raw};
use crate::Result;

/// A document, immutable, shared by everyone who reads it.
pub struct StoredDocument {
    raw: Bytes,
    json: OnceLock<Bytes>,
    etag: OnceLock<Etag>,
}

/// A strong entity tag: the hash of a document's bytes, in the quoted form that HTTP uses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag(String);

impl Etag {
    /// The tag of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(34);
        text.push('"');
        for byte in xxh3_128(bytes).to_be_bytes() {
            text.push(HEX[usize::from(byte >> 4)].into());
            text.push(HEX[usize::from(byte & 15)].into());
        }
        text.push('"');
        Self(text)
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
        Self::from_bytes(Bytes::from(raw.into_bytes()))
    }
    /// The same, of bytes that are shared and not copied.
    pub(crate) fn from_bytes(raw: Bytes) -> Result<Self> {
        raw::validate(&raw)?;
        Ok(Self { raw, json: OnceLock::new(), etag: OnceLock::new() })
    }
    /// The raw BSON.
    pub fn raw(&self) -> &RawDocument {
        RawDocument::from_bytes(&self.raw).expect("the bytes were checked when the document was made")
    }
    /// The strong entity tag of this state of the document.
    pub fn etag(&self) -> &Etag {
        self.etag.get_or_init(|| Etag::of(&self.raw))
    }
    /// The document as relaxed Extended JSON, made once and shared by all later readers.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            json_of_checked(&self.raw).expect("the bytes were checked when the document was made")
        })
    }
}

impl fmt::Debug for StoredDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredDocument").field("bytes", &self.raw.len()).finish_non_exhaustive()
    }
}
