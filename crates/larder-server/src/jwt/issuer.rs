//! Where the keys come from: the issuer, over HTTP, or a file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::handshake,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use larder::{Error, ErrorKind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::key::KeySet;
use crate::{
    app,
    config::{JwtSettings, Secret},
};

/// The most time one fetch may take, from the name's address to the last byte.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest set that is read.
const MAX_BYTES: u64 = 256 << 10;

type Fetched<T> = std::result::Result<T, String>;

/// Where the keys come from, and what for.
pub(crate) struct Source {
    place: Place,
    accepted: Vec<Algorithm>,
}

enum Place {
    Issuer(Issuer),
    SetFile(PathBuf),
    PemFile(PathBuf),
    Secret(Secret),
}

impl Source {
    /// The place that the configuration names; `None` if it names none.
    ///
    /// # Errors
    /// A URL or a certificate authority that cannot be used.
    pub(crate) fn of(settings: &JwtSettings) -> Result<Option<Self>> {
        let accepted = settings.algorithms.clone().unwrap_or_default();
        let place = if let Some(url) = &settings.jwks_url {
            Place::Issuer(Issuer::new(url, settings.ca_file.as_deref())?)
        } else if let Some(path) = &settings.jwks_file {
            Place::SetFile(path.clone())
        } else if let Some(path) = &settings.public_key_file {
            Place::PemFile(path.clone())
        } else if let Some(secret) = &settings.secret {
            Place::Secret(secret.clone())
        } else {
            return Ok(None);
        };
        Ok(Some(Self { place, accepted }))
    }

    /// Whether it may be away although nothing is wrong with the configuration.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.place, Place::Issuer(_))
    }

    /// Whether it may have other keys later. A single key changes with the configuration.
    pub(super) fn changes(&self) -> bool {
        matches!(self.place, Place::Issuer(_) | Place::SetFile(_))
    }

    /// Reads or fetches the keys, within 5 s.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) async fn read(&self) -> Fetched<KeySet> {
        let accepted = self.accepted.as_slice();
        match &self.place {
            Place::Issuer(issuer) => {
                let fetched = timeout(DEADLINE, issuer.fetch()).await;
                let document = fetched.unwrap_or_else(|_| Err("no whole answer within 5 s".to_owned()));
                let read = document.and_then(|document| KeySet::of_jwks(&document, accepted));
                read.map_err(|reason| format!("{}: {reason}", issuer.shown))
            }
            Place::SetFile(path) => {
                let read = read_file(path, |document| KeySet::of_jwks(document, accepted)).await;
                read.map_err(|reason| format!("jwt.jwks_file: {reason}"))
            }
            Place::PemFile(path) => {
                let read = read_file(path, |pem| KeySet::of_pem(pem, accepted)).await;
                read.map_err(|reason| format!("jwt.public_key_file: {reason}"))
            }
            Place::Secret(secret) => Ok(KeySet::of_secret(secret.reveal(), accepted)),
        }
    }
}

async fn read_file(path: &Path, read: impl FnOnce(&[u8]) -> Fetched<KeySet>) -> Fetched<KeySet> {
    let file = async {
        let mut bytes = Vec::new();
        File::open(path).await?.take(MAX_BYTES + 1).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = file.await.map_err(|error| app::unreadable(path, &error))?;
    let keys = match bytes.len() as u64 > MAX_BYTES {
        true => Err("it is larger than 256 KiB".to_owned()),
        false => read(&bytes),
    };
    keys.map_err(|reason| format!("{}: {reason}", path.display()))
}

/// An issuer that publishes its keys.
struct Issuer {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    /// The URL without its query, for logs.
    shown: String,
}

impl Issuer {
    fn new(url: &str, ca_file: Option<&Path>) -> Result<Self> {
        let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
        let uri: Uri = url.parse().map_err(|_| wrong("jwks_url is no URL"))?;
        let host = uri.host().ok_or_else(|| wrong("jwks_url names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_https = uri.scheme_str() == Some("https");
        let tls = is_https.then(|| connector(ca_file)).transpose()?;
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let shown = Secret::new(url).as_shown_url();
        Ok(Self { uri, host, port, tls, shown })
    }

    async fn fetch(&self) -> Fetched<Bytes> {
        let connected = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = connected.map_err(|error| format!("it cannot be connected to: {error}"))?;
        match &self.tls {
            None => self.get(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
                let greeted = tls.connect(name, stream).await;
                self.get(greeted.map_err(|error| format!("TLS: {error}"))?).await
            }
        }
    }

    /// Asks once, over this connection. Another address that it names is not followed: it was not configured.
    async fn get(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Fetched<Bytes> {
        let failed = |error: hyper::Error| format!("no whole answer: {error}");
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get(path)
            .header(HOST, authority)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, concat!("larder/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(failed)?;
            read_answer(answer).await
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            closed = connection => Err(closed.err().map_or_else(|| "it closed the connection".to_owned(), failed)),
        }
    }
}

async fn read_answer(answer: Response<Incoming>) -> Fetched<Bytes> {
    if answer.status() != StatusCode::OK {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let body = Limited::new(answer.into_body(), MAX_BYTES as usize).collect().await;
    body.map(Collected::to_bytes).map_err(|error| format!("no whole answer of at most 256 KiB: {error}"))
}

/// Trusts the given authority and no other; else those that browsers trust.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector> {
    let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
    let roots = match ca_file {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let pem = app::read_pem("jwt.ca_file", path)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.map_err(|_| ()).and_then(|one| roots.add(one).map_err(|_| ()));
                added.map_err(|()| wrong("the certificate authority for tokens cannot be read"))?;
            }
            if roots.is_empty() {
                return Err(wrong("the certificate authority for tokens holds no PEM certificate"));
            }
            roots
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| wrong("TLS for tokens has no protocol version in common with itself"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
