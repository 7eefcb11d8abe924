//! Opening one connection: resolve, connect, log in, check what answers.

use std::time::Duration;

use ::redis::{PushInfo, RedisError, RedisResult};
use tokio::{net::TcpStream, time::timeout};

use super::{
    RedisConfig,
    error::from_connect,
    login::log_in,
    tls::Tls,
    url::{Address, Login, Target},
    wire::{OnPush, Wire},
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
    /// Calls on it have no deadline of their own: each caller sets one.
    ///
    /// # Errors
    /// `Unavailable` if nothing answers within the connect deadline, `Config` if the login or the protocol is refused.
    pub(crate) async fn open<F>(&self, address: &Address, on_push: F) -> Result<Wire>
    where
        F: Fn(PushInfo) + Send + Sync + 'static,
    {
        let wire = self.wire(address, &self.target.login, self.target.database, Box::new(on_push));
        self.in_time(address, wire).await
    }

    /// Opens a connection to a sentinel, which has a login of its own and no databases.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn open_sentinel(&self, address: &Address) -> Result<Wire> {
        self.in_time(address, self.wire(address, &self.sentinel_login, 0, Box::new(|_| {}))).await
    }

    async fn in_time(
        &self,
        address: &Address,
        connecting: impl Future<Output = RedisResult<Wire>>,
    ) -> Result<Wire> {
        let name = address.to_string();
        match timeout(self.connect_deadline, connecting).await {
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
        login: &Login,
        database: i64,
        on_push: OnPush,
    ) -> RedisResult<Wire> {
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(RedisError::from)?;
        stream.set_nodelay(true).map_err(RedisError::from)?;
        let wire = match &self.tls {
            None => Wire::over(stream, on_push),
            Some(tls) => Wire::over(tls.greet(host, stream).await.map_err(RedisError::from)?, on_push),
        };
        log_in(&wire, login, database).await?;
        Ok(wire)
    }
}
