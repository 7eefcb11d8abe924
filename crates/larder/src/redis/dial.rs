//! Opening one connection: resolve, connect, log in, check what answers.

use std::time::Duration;

use ::redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, RedisResult,
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    RedisConfig,
    error::from_connect,
    tls::Tls,
    url::{Address, Login, Target},
    wire::Wire,
};
use crate::{Error, ErrorKind, Result};

/// How to log in and which transport to use; the same for every node of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    target: Target,
    sentinel_login: Login,
    tls: Option<Tls>,
    connect_deadline: Duration,
}

/// Requests that may wait for the socket at once. Past it callers wait, within their own deadlines.
const SEND_QUEUE: usize = 1_024;

impl Dialer {
    /// # Errors
    /// `Config` for certificates without TLS, and for those that cannot be read.
    pub(crate) fn new(target: Target, config: &RedisConfig) -> Result<Self> {
        let RedisConfig { sentinel_login, certificates, connect_deadline, .. } = config.clone();
        if !target.tls && (certificates.authority.is_some() || certificates.client.is_some()) {
            let what = "certificates are given, but the redis URL does not ask for TLS: use rediss://";
            return Err(Error::new(ErrorKind::Config, what));
        }
        let tls = target.tls.then(|| Tls::new(&certificates)).transpose()?;
        Ok(Self { target, sentinel_login, tls, connect_deadline })
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
    pub(crate) async fn open<F>(&self, address: &Address, on_push: F) -> Result<Wire>
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
    pub(crate) async fn open_sentinel(&self, address: &Address) -> Result<Wire> {
        self.connect(address, log_in(&self.sentinel_login), |_| Ok(())).await
    }

    async fn connect<F>(&self, address: &Address, login: RedisConnectionInfo, on_push: F) -> Result<Wire>
    where
        F: Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(SEND_QUEUE)
            .set_push_sender(on_push);
        let name = address.to_string();
        match timeout(self.connect_deadline, self.wire(address, &login, config)).await {
            Ok(connected) => connected.map_err(|error| from_connect(&name, &error)),
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("no connection within {} ms", self.connect_deadline.as_millis()),
            )
            .context(format!("redis at {name}"))),
        }
    }

    async fn wire(
        &self,
        Address { host, port }: &Address,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Wire> {
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(RedisError::from)?;
        stream.set_nodelay(true).map_err(RedisError::from)?;
        match &self.tls {
            None => Wire::over(stream, login, config).await,
            Some(tls) => {
                let stream = tls.greet(host, stream).await.map_err(RedisError::from)?;
                Wire::over(stream, login, config).await
            }
        }
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
