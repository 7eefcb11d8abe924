//! Opening one connection: resolve, connect, log in, check what answers.

use std::{fmt, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisResult, TlsCertificates, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{
    RedisConfig,
    error::from_connect,
    url::{Address, Login, Target},
};
use crate::{Error, ErrorKind, Result};

/// How to log in and which transport to use; the same for every node of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    target: Target,
    sentinel_login: Login,
    certificates: Certificates,
    connect_deadline: Duration,
}

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

/// Requests that may wait for the socket at once. Past it callers wait, within their own deadlines.
const SEND_QUEUE: usize = 1_024;

impl Dialer {
    /// # Errors
    /// `Config` for certificates without TLS, and for an authority that is no PEM certificate.
    pub(crate) fn new(target: Target, config: &RedisConfig) -> Result<Self> {
        let RedisConfig { sentinel_login, certificates, connect_deadline, .. } = config.clone();
        let wrong = |what: &'static str| Err(Error::new(ErrorKind::Config, what));
        if target.tls {
            // The driver takes the process's choice of cryptography. If the program has made one already, that stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        } else if certificates.authority.is_some() || certificates.client.is_some() {
            return wrong("certificates are given, but the redis URL does not ask for TLS: use rediss://");
        }
        if let Some(pem) = &certificates.authority {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            if found.is_ok_and(|certificates| certificates.is_empty()) {
                return wrong("the certificate authority for redis holds no PEM certificate");
            }
        }
        Ok(Self { target, sentinel_login, certificates, connect_deadline })
    }

    pub(crate) fn connect_deadline(&self) -> Duration {
        self.connect_deadline
    }

    /// Opens a RESP3 connection to `address`. `on_push` sees every push message and the end of the connection; it is
    /// called on the connection's own task and must not block.
    ///
    /// The driver's response timeout is off: deadlines are ours, per operation.
    ///
    /// # Errors
    /// `Unavailable` if nothing answers within the connect deadline, `Config` if the login or the protocol is refused.
    pub(crate) async fn open<F>(&self, address: &Address, on_push: F) -> Result<MultiplexedConnection>
    where
        F: Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    {
        let login = log_in(&self.target.login).set_db(self.target.database);
        self.connect(address, login, on_push).await
    }

    /// Opens a connection to a sentinel, which has a login of its own and no databases.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn open_sentinel(&self, address: &Address) -> Result<MultiplexedConnection> {
        self.connect(address, log_in(&self.sentinel_login), |_| Ok(())).await
    }

    async fn connect<F>(
        &self,
        address: &Address,
        login: RedisConnectionInfo,
        on_push: F,
    ) -> Result<MultiplexedConnection>
    where
        F: Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(SEND_QUEUE)
            .set_push_sender(on_push);
        let name = address.to_string();
        let client = self.client(address, login).map_err(|error| {
            Error::new(ErrorKind::Config, error.to_string()).context(format!("redis at {name}"))
        })?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.connect_deadline, connecting).await {
            Ok(connected) => connected.map_err(|error| from_connect(&name, &error)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("no connection within {} ms", self.connect_deadline.as_millis()),
            )
            .context(format!("redis at {name}"))),
        }
    }

    fn client(&self, address: &Address, login: RedisConnectionInfo) -> RedisResult<Client> {
        let Address { host, port } = address.clone();
        let settings = TcpSettings::default().set_nodelay(true);
        let info = |addr: ConnectionAddr| -> RedisResult<_> {
            Ok(addr.into_connection_info()?.set_redis_settings(login).set_tcp_settings(settings))
        };
        if !self.target.tls {
            return Client::open(info(ConnectionAddr::Tcp(host, port))?);
        }
        let addr = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        let Certificates { authority, client } = self.certificates.clone();
        let client_tls = client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Client::build_with_tls(info(addr)?, TlsCertificates { client_tls, root_cert: authority })
    }
}

fn log_in(login: &Login) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("larder", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    info
}
