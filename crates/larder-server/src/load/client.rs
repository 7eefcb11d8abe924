//! One keep-alive HTTP/1.1 connection that sends one request after another.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    client::conn::http1::{Connection, SendRequest, handshake},
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use larder::{Error, ErrorKind, Result};
use tokio::{net::TcpStream, time::timeout};

use super::plan::Planned;

/// Says how the server is to use its cache for a request.
const CACHE_MODE: HeaderName = HeaderName::from_static("x-larder-cache");
/// Says how it did.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// No answer that is measured here takes this long.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The server, and the right to ask it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// # Errors
    /// `ErrorKind::Config` for a URL that is not `http://host:port`, or a key that cannot stand in a header.
    pub(super) fn new(url: &Uri, key: Option<&str>) -> Result<Self> {
        let refuse = |message: &'static str| Error::new(ErrorKind::Config, message);
        if url.scheme_str() != Some("http") {
            return Err(refuse("the URL must begin with http:// (the load goes over plain HTTP only)"));
        }
        let authority = url.authority().ok_or_else(|| refuse("the URL names no host"))?;
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("the URL names no usable host"))?;
        let authorization = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| refuse("the key cannot stand in a header"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok(Self { address, host, authorization: authorization.transpose()? })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` if the server does not take it.
    pub(super) async fn connect(&self) -> Result<Client> {
        let stream =
            timeout(DEADLINE, TcpStream::connect(&self.address)).await.map_err(late)?.map_err(away)?;
        stream.set_nodelay(true).map_err(away)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(away)?;
        Ok(Client { target: self.clone(), sender, connection: Box::pin(connection), has_ended: false })
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` if there is no answer.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        let uri = path.parse().map_err(|_| Error::new(ErrorKind::Config, "the path cannot be asked for"))?;
        let request = Request::get::<Uri>(uri).body(Full::default()).map_err(away)?;
        let answer = self.connect().await?.send(request).await?;
        Ok((answer.status(), answer.into_body()))
    }

    /// Whether the server leaves its cache aside when this asks it to; it is no error there to ask for more than one may.
    /// `None` if it refuses the request altogether.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` if there is no answer.
    pub(super) async fn comes_past_the_cache(&self, planned: Planned) -> Result<Option<bool>> {
        let answer = self.connect().await?.send(request(planned, true)?).await?;
        let status = answer.headers().get(CACHE_STATUS);
        let is_past = status.is_some_and(|status| status.as_bytes().ends_with(b"fwd=bypass"));
        Ok(answer.status().is_success().then_some(is_past))
    }
}

/// One connection.
pub(super) struct Client {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    /// Driven by whoever waits for an answer: no second task, so no wake-ups between threads in what is measured.
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    has_ended: bool,
}

impl Client {
    /// Sends a planned request and reads the whole answer.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout`; the connection must not be used again then.
    pub(super) async fn ask(&mut self, planned: Planned, past_the_cache: bool) -> Result<StatusCode> {
        let answer = self.send(request(planned, past_the_cache)?).await?;
        let close = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        self.has_ended = answer.headers().get(CONNECTION).is_some_and(close);
        Ok(answer.status())
    }

    /// Whether the server has ended the connection with its last answer.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        request.headers_mut().insert(HOST, self.target.host.clone());
        if let Some(authorization) = &self.target.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let sender = &mut self.sender;
        let exchange = async move {
            sender.ready().await.map_err(away)?;
            let response = sender.send_request(request).await.map_err(away)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
            let body = body
                .map_err(|error| Error::new(ErrorKind::Unavailable, format!("read the answer: {error}")))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let exchange = timeout(DEADLINE, exchange);
        tokio::select! {
            biased;
            answer = exchange => answer.map_err(late)?,
            _ = &mut self.connection => Err(Error::new(ErrorKind::Unavailable, "the server closed the connection")),
        }
    }
}

fn request(planned: Planned, past_the_cache: bool) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(planned.method).uri(planned.uri);
    if past_the_cache {
        request = request.header(CACHE_MODE, "bypass");
    }
    if !planned.body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/merge-patch+json");
    }
    request.body(Full::new(planned.body)).map_err(away)
}

fn away(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the server does not answer").with_source(error)
}

fn late(_: tokio::time::error::Elapsed) -> Error {
    Error::new(ErrorKind::Timeout, "the server does not answer within 10 s")
}
