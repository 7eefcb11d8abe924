//! How values become bytes for Redis and back.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, Result};

/// Turns values into bytes and back.
///
/// The format is part of what all nodes and all deploys share: change it only together with the cache's
/// [`version`](crate::cache::CacheBuilder::version). [`id`](Codec::id) is stored with each value, and a value that
/// another codec wrote is a miss, never a guess.
pub trait Codec<V>: Send + Sync + 'static {
    /// A number for this format: 0 to 63 are Larder's own, 64 to 255 yours.
    fn id(&self) -> u8;

    /// Encodes a value.
    ///
    /// # Errors
    /// When the value has no form in this format; it is then returned to its reader but not cached.
    fn encode(&self, value: &V) -> Result<Bytes>;

    /// Decodes a value.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` when the bytes are not of this format; that is counted and treated as a miss.
    fn decode(&self, bytes: &Bytes) -> Result<V>;
}

pub(crate) type SharedCodec<V> = Arc<dyn Codec<V>>;

/// JSON by serde: readable with any Redis client, forgiving when fields are added. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<V: Serialize + DeserializeOwned + 'static> Codec<V> for Json {
    fn id(&self) -> u8 {
        1
    }
    fn encode(&self, value: &V) -> Result<Bytes> {
        serde_json::to_vec(value).map(Bytes::from).map_err(unencodable)
    }
    fn decode(&self, bytes: &Bytes) -> Result<V> {
        serde_json::from_slice(bytes).map_err(undecodable)
    }
}

/// MessagePack by serde, with field names: smaller and faster than JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl<V: Serialize + DeserializeOwned + 'static> Codec<V> for MessagePack {
    fn id(&self) -> u8 {
        2
    }
    fn encode(&self, value: &V) -> Result<Bytes> {
        rmp_serde::to_vec_named(value).map(Bytes::from).map_err(unencodable)
    }
    fn decode(&self, bytes: &Bytes) -> Result<V> {
        rmp_serde::from_slice(bytes).map_err(undecodable)
    }
}

/// Bytes as they are, shared and never copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn id(&self) -> u8 {
        3
    }
    fn encode(&self, value: &Bytes) -> Result<Bytes> {
        Ok(value.clone())
    }
    fn decode(&self, bytes: &Bytes) -> Result<Bytes> {
        Ok(bytes.clone())
    }
}

fn unencodable(cause: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Invalid, format!("the value has no form in this codec: {cause}"))
}

fn undecodable(cause: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the stored value is not of this type: {cause}"))
}
