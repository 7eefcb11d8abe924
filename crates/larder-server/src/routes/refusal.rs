//! Every answer that is not a success, as problem JSON (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use larder::{Error, ErrorKind};
use serde_json::{Map, Value};

use crate::{position, routes::Answer};

/// When to come back to what mends itself.
const SOON: Duration = Duration::from_secs(1);
/// When to come back to what somebody has to mend.
const AFTER_MENDING: Duration = Duration::from_secs(10);

/// Why a request was not served, and what the client can do about it.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    /// The last part of the problem's type, stable for programs.
    slug: &'static str,
    detail: String,
    field: Option<String>,
    position: Option<(usize, usize)>,
    retry_after: Option<Duration>,
    /// What would be taken instead.
    header: Option<(HeaderName, &'static str)>,
    /// What is wrong with a token, for the header that asks for another.
    wrong_token: Option<&'static str>,
}

impl Refusal {
    /// A refusal with a detail in plain words: what is wrong, and what would be right.
    pub(crate) fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner {
            status,
            slug,
            detail,
            field: None,
            position: None,
            retry_after: None,
            header: None,
            wrong_token: None,
        }))
    }

    /// 400: the input is wrong at `field`.
    pub(crate) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-input", detail).with_field(field)
    }

    /// 404: there is no such route, collection or document.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 405, with the methods that are served there.
    pub(crate) fn method(allow: &'static str) -> Self {
        let detail = format!("this address answers to {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).with_header(ALLOW, allow)
    }

    /// 503: come back later.
    pub(crate) fn busy(detail: impl Into<String>, retry_after: Duration) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        refusal.0.retry_after = Some(retry_after);
        refusal
    }

    /// 409: the write meets what is there already.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 412: there is a document already, and the request was for a new one only.
    pub(crate) fn exists() -> Self {
        let detail = "there is a document with this id already; send its ETag in If-Match to replace it";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail).with_field("If-None-Match")
    }

    /// 412: the document is not in the state that the request expects.
    pub(crate) fn precondition() -> Self {
        let detail = "the document has changed, or does not exist; read it again and send its new ETag";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail).with_field("If-Match")
    }

    /// 428: the write has to say which state of the document it expects (RFC 6585).
    pub(crate) fn precondition_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", detail).with_field("If-Match")
    }

    /// 401: this needs a key.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 401: this token does not let in. The detail has no quotes in it.
    pub(crate) fn invalid_token(detail: &'static str) -> Self {
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, "invalid-token", detail);
        refusal.0.wrong_token = Some(detail);
        refusal
    }

    /// 403: the key's role may not do this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 408: the body did not come while the request had time for it.
    pub(crate) fn late_body(patience: Duration) -> Self {
        let detail = format!(
            "the body did not arrive within {patience:?} (limits.request_deadline); nothing was written"
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "late-body", detail).with_field("body")
    }

    /// 504: the request's own time is up, or nobody knows what became of its write for another reason.
    pub(crate) fn deadline() -> Self {
        let detail = "the request took longer than it may, or its connection to the database broke; a write may or may not have happened";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
    }

    /// The same for a request that only reads: out of time it left nothing in doubt, and may be sent again.
    pub(crate) fn of_read(mut self) -> Self {
        if self.0.status == StatusCode::GATEWAY_TIMEOUT {
            self.0.detail = "the request took longer than it may; try again".to_owned();
            self.0.retry_after = Some(SOON);
        }
        self
    }

    /// What the library reports of Redis, of a request that leaves the database alone. `left` says what becomes of the request.
    pub(crate) fn of_redis(error: Error, left: &str) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Lost => {
                tracing::warn!(%error, "A request was answered with 503.");
                let after = error.retry_after().unwrap_or(SOON);
                Self::busy(format!("Redis cannot be reached just now: {left}"), after)
            }
            ErrorKind::Timeout => {
                tracing::warn!(%error, "A request was answered with 504.");
                Self::redis_deadline(left)
            }
            ErrorKind::Config => {
                tracing::error!(%error, "A request was answered with 503: Redis refuses this server.");
                let detail = "Redis refuses what this server asks of it: mend the login or its rights there, or in the server's \
                              configuration; the server's log says what it said";
                Self::busy(format!("{detail}; {left}"), AFTER_MENDING)
            }
            _ => error.into(),
        }
    }

    /// 504: Redis was told, and did not answer in time.
    pub(crate) fn redis_deadline(left: &str) -> Self {
        let detail = format!("Redis did not answer in time: {left}");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
    }

    /// Names the place in the input.
    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Says in a header what would be taken.
    pub(crate) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Names line and column in the body, both from 1.
    pub(crate) fn with_position(mut self, line: usize, column: usize) -> Self {
        self.0.position = Some((line, column));
        self
    }

    /// The same, of a piece of the body: before it are so many lines, and so many bytes in the line that it begins in.
    pub(crate) fn behind(mut self, lines: usize, bytes: usize) -> Self {
        let Some((line, column)) = self.0.position else { return self };
        let (line, column) = (line + lines, if line == 1 { column + bytes } else { column });
        self.0.position = Some((line, column));
        if let (what, Some(_)) = position::split(&self.0.detail) {
            self.0.detail = format!("{what} at line {line} column {column}");
        }
        self
    }

    /// The status that the answer will have.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The members of the problem object; an item of a bulk answer carries the same.
    pub(crate) fn to_json(&self) -> Value {
        let inner = &self.0;
        let mut problem = Map::new();
        problem.insert("type".to_owned(), format!("urn:larder:problem:{}", inner.slug).into());
        problem.insert("title".to_owned(), inner.status.canonical_reason().unwrap_or("Error").into());
        problem.insert("status".to_owned(), inner.status.as_u16().into());
        problem.insert("detail".to_owned(), inner.detail.as_str().into());
        if let Some(field) = &inner.field {
            problem.insert("field".to_owned(), field.as_str().into());
        }
        if let Some((line, column)) = inner.position {
            problem.insert("line".to_owned(), line.into());
            problem.insert("column".to_owned(), column.into());
        }
        Value::Object(problem)
    }

    /// The answer to send.
    pub(crate) fn into_answer(self) -> Answer {
        let mut answer = Response::new(Full::new(Bytes::from(self.to_json().to_string())));
        *answer.status_mut() = self.0.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.0.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(after) = self.0.retry_after {
            // Rounded up: "0" would tell every client to come back at once.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, challenge(self.0.wrong_token));
        }
        answer
    }
}

/// How to ask for credentials, and what is wrong with a token that was sent (RFC 6750).
fn challenge(wrong_token: Option<&'static str>) -> HeaderValue {
    const REALM: &str = "Bearer realm=\"larder\"";
    let described = wrong_token.and_then(|detail| {
        let text = format!("{REALM}, error=\"invalid_token\", error_description=\"{detail}\"");
        HeaderValue::try_from(text).ok()
    });
    described.unwrap_or(HeaderValue::from_static(REALM))
}

impl From<Error> for Refusal {
    /// What the library reports, as HTTP. What only the operator can mend is logged, and not told to the client.
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => match error.field() {
                Some(field) => Self::invalid(field, error.message()),
                None => Self::new(StatusCode::BAD_REQUEST, "invalid-input", error.message()),
            },
            ErrorKind::Conflict => Self::conflict(error.message()).with_field(error.field().unwrap_or("_id")),
            ErrorKind::TooLarge => {
                let refusal = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", error.message());
                match error.field() {
                    Some(field) => refusal.with_field(field),
                    None => refusal,
                }
            }
            ErrorKind::Unavailable | ErrorKind::Lost => {
                tracing::warn!(%error, "A request was answered with 503.");
                let after = error.retry_after().unwrap_or(SOON);
                Self::busy("the database cannot be reached just now; try again", after)
            }
            ErrorKind::Timeout => {
                tracing::warn!(%error, "A request was answered with 504.");
                Self::deadline()
            }
            // The server started with what it was told, so it was changed at the database: a password, a right.
            ErrorKind::Config => {
                tracing::error!(%error, "A request was answered with 503: the database refuses this server.");
                let detail = "the database refuses this server: its login or its rights have to be mended there, or in the \
                              server's configuration; the server's log says what it said";
                Self::busy(detail, AFTER_MENDING)
            }
            _ => {
                tracing::error!(%error, "A request was answered with 500.");
                let detail = "the server could not do this; its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}
