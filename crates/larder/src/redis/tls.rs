//! TLS: what a connection trusts, and what it shows of itself.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, ErrorKind, Result};

/// What TLS connections trust and show, all PEM. `Debug` shows none of it.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) authority: Option<Vec<u8>>,
    /// Certificate and key.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("authority", &self.authority.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// Makes TLS connections; checked once, cheap to clone.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// # Errors
    /// `Config` for certificates or a key that cannot be read.
    pub(super) fn new(certificates: &Certificates) -> Result<Self> {
        let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| wrong("TLS for redis has no protocol version in common with itself"))?
            .with_root_certificates(roots(certificates.authority.as_deref())?);
        let config = match &certificates.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = read_certificates(certificate)
                    .ok_or_else(|| wrong("the client certificate for redis holds no PEM certificate"))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| wrong("the client key for redis holds no PEM key"))?;
                builder.with_client_auth_cert(chain, key).map_err(|_| {
                    wrong("the client certificate for redis and its key do not belong together")
                })?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Greets the server, which must show a certificate for `host`.
    pub(super) async fn greet(&self, host: &str, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// The given authority and no other; else those that browsers trust.
fn roots(authority: Option<&[u8]>) -> Result<RootCertStore> {
    let Some(pem) = authority else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let wrong = |what: &'static str| Error::new(ErrorKind::Config, what);
    let certificates = read_certificates(pem)
        .ok_or_else(|| wrong("the certificate authority for redis holds no PEM certificate"))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| {
            wrong("the certificate authority for redis is no certificate that can be trusted")
        })?;
    }
    Ok(roots)
}

fn read_certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
