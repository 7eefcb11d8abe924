//! Request bodies: their media type, their size, their bytes.

use std::{ops::Deref, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{app::App, config::Limits, routes::Refusal};

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-ndjson`: one document a line.
    Lines,
    /// `application/merge-patch+json`, RFC 7396.
    MergePatch,
}

impl MediaType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::MergePatch => "application/merge-patch+json",
        }
    }

    /// The type of a request's body, which must be one of `accepted`.
    ///
    /// # Errors
    /// 415 naming what would be accepted; also for a body that is compressed.
    pub(crate) fn of(headers: &HeaderMap, accepted: &[Self]) -> Result<Self, Refusal> {
        let refuse = |field: &str| {
            let names: Vec<_> = accepted.iter().map(|accepted| accepted.name()).collect();
            let detail = format!("the body must be {}, not compressed, in UTF-8", names.join(" or "));
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
                .with_field(field)
        };
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(refuse("Content-Encoding"));
        }
        let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (essence, parameters) = sent.split_once(';').unwrap_or((sent, ""));
        let charset = parameters.trim().to_ascii_lowercase();
        if charset.starts_with("charset") && !charset.replace([' ', '"'], "").eq("charset=utf-8") {
            return Err(refuse("Content-Type"));
        }
        let essence = essence.trim();
        accepted
            .iter()
            .copied()
            .find(|accepted| essence.eq_ignore_ascii_case(accepted.name()))
            .ok_or_else(|| refuse("Content-Type"))
    }
}

/// Which limit a body keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyLimit {
    /// One document, one order, or one query.
    One,
    /// Many documents.
    Bulk,
}

impl BodyLimit {
    fn bytes(self, limits: &Limits) -> u64 {
        match self {
            Self::One => limits.max_body_bytes,
            Self::Bulk => limits.max_bulk_bytes,
        }
    }

    fn refuse(self, max_bytes: u64) -> Refusal {
        let (setting, way_out) = match self {
            Self::One => ("limits.max_body_bytes", ""),
            Self::Bulk => ("limits.max_bulk_bytes", "; send it in parts"),
        };
        let detail = format!("the body may have at most {max_bytes} bytes ({setting}){way_out}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with_field("body")
    }
}

/// The room that bodies may take in memory, all requests together: without it, as many large bodies as there are
/// requests at work would be held at once.
#[derive(Debug)]
pub(crate) struct BodyRoom(Semaphore);

/// The unit in which room is handed out; a body takes whole ones.
const ROOM_UNIT_BYTES: u64 = 1 << 10;

impl BodyRoom {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Semaphore::new((bytes / ROOM_UNIT_BYTES) as usize))
    }

    fn take(&self, bytes: u64) -> Result<SemaphorePermit<'_>, Refusal> {
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
        let busy =
            |_| Refusal::busy("too many large bodies at once; send this one again", Duration::from_secs(1));
        self.0.try_acquire_many(units).map_err(busy)
    }
}

/// A whole body. Its room is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    bytes: Bytes,
    _room: SemaphorePermit<'a>,
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the body of a request for one document, which must be of this type.
///
/// # Errors
/// As [`MediaType::of`] and [`read`].
pub(crate) async fn read_one<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Incoming,
    media_type: MediaType,
) -> Result<Body<'a>, Refusal> {
    MediaType::of(headers, &[media_type])?;
    read(app, headers, body, BodyLimit::One).await
}

/// Reads a whole body within this limit. Nothing is kept of a body that says it is larger.
///
/// # Errors
/// 413 past the limit; 503 when other requests have taken the room for bodies; 400 if the client stopped in the middle; 408 if
/// the body does not come.
pub(crate) async fn read<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Incoming,
    limit: BodyLimit,
) -> Result<Body<'a>, Refusal> {
    let max_bytes = limit.bytes(&app.limits);
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > max_bytes) {
        return Err(limit.refuse(max_bytes));
    }
    let room = app.body_room.take(announced.unwrap_or(max_bytes))?;
    let patience = arrival_time(&app.limits);
    let arrived = timeout(patience, collect(body, limit, max_bytes)).await;
    let bytes = arrived.unwrap_or_else(|_| Err(Refusal::late_body(patience)))?;
    Ok(Body { bytes, _room: room })
}

/// How long a body may take to arrive: most of the request's time. What ends here has written nothing, and says so; at the
/// request's own deadline nobody could tell.
fn arrival_time(limits: &Limits) -> Duration {
    limits.request_deadline.mul_f64(0.9)
}

async fn collect(mut body: Incoming, limit: BodyLimit, max_bytes: u64) -> Result<Bytes, Refusal> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "incomplete-body", "the body ended before it was whole")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len() as u64;
        if total > max_bytes {
            return Err(limit.refuse(max_bytes));
        }
        // Most bodies arrive in one piece, which then needs no copy.
        match &first {
            None => first = Some(data),
            Some(beginning) => {
                if rest.is_empty() {
                    rest.extend_from_slice(beginning);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, expected: Option<MediaType>) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(
            MediaType::of(&headers, &[MediaType::Json, MediaType::Lines]).ok(),
            expected,
            "{content_type}"
        );
    }

    #[test]
    fn media_types_are_compared_without_case_and_parameters() {
        check("application/json", Some(MediaType::Json));
        check("Application/JSON; charset=\"UTF-8\"", Some(MediaType::Json));
        check("application/json; profile=x", Some(MediaType::Json));
        check("application/x-ndjson", Some(MediaType::Lines));
        for wrong in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=latin1",
            "application/merge-patch+json",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(MediaType::of(&headers, &[MediaType::Json]).is_err());
    }
}
