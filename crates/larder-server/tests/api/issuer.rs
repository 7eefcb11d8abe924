//! A small real server that publishes the keys of an issuer of tokens.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use larder_testkit::tls::Identity;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// Status and body of the next answers, and where a redirect leads.
type Reply = (u16, Bytes, String);

/// An issuer that publishes what it is told to, until it is dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    url: String,
    shared: Arc<Shared>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    reply: Mutex<Reply>,
    requests: AtomicUsize,
}

impl Issuer {
    /// One that publishes these keys.
    pub(crate) async fn start(keys: &[Value]) -> Self {
        Self::start_with(None, keys).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(identity: &Identity, keys: &[Value]) -> Self {
        let chain =
            vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("the certificate and its key belong together");
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config))), keys).await
    }

    async fn start_with(tls: Option<TlsAcceptor>, keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared::default());
        let serving = tokio::spawn(serve(listener, tls, Arc::clone(&shared)));
        let issuer = Self {
            url: format!("{scheme}://{address}/keys"),
            shared,
            _serving: AbortOnDropHandle::new(serving),
        };
        issuer.publish(keys);
        issuer
    }

    /// Where the keys are.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Publishes these keys, and no others, from now on.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.answer(200, json!({ "keys": keys }).to_string());
    }

    /// Answers with this from now on.
    pub(crate) fn answer(&self, status: u16, body: String) {
        *self.shared.reply.lock() = (status, body.into(), String::new());
    }

    /// Sends whoever asks somewhere else.
    pub(crate) fn redirect(&self, url: &str) {
        *self.shared.reply.lock() = (302, Bytes::new(), url.to_owned());
    }

    /// How often it was asked.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => answer(stream, shared).await,
                // A client that does not trust us goes away here.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |_: Request<Incoming>| {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let (status, body, location) = shared.reply.lock().clone();
        let mut answer = Response::builder().status(status);
        if !location.is_empty() {
            answer = answer.header("location", location);
        }
        let answer = answer.body(Full::new(body)).expect("the answer can be written");
        async move { Ok::<_, Infallible>(answer) }
    });
    // It ends when the client has read what it asked for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
