//! Opening one connection: resolve, connect, log in, check what answers.

use std::time::Duration;

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

use super::{
    error::from_connect,
    url::{Address, Target},
};
use crate::{Error, ErrorKind, Result};

/// How to log in and which transport to use; the same for every node of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    target: Target,
    connect_deadline: Duration,
}

/// Requests that may wait for the socket at once. Past it callers wait, within their own deadlines.
const SEND_QUEUE: usize = 1_024;

impl Dialer {
    pub(crate) fn new(target: Target, connect_deadline: Duration) -> Self {
        Self { target, connect_deadline }
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
        let mut login = self.login().set_db(self.target.database);
        if let Some(user) = &self.target.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.target.password {
            login = login.set_password(password);
        }
        self.connect(address, login, on_push).await
    }

    /// Opens a connection to a sentinel: without the login and the database, which are those of the primary.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn open_sentinel(&self, address: &Address) -> Result<MultiplexedConnection> {
        self.connect(address, self.login(), |_| Ok(())).await
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
        let client = self.client(address, login).map_err(|error| from_connect(&name, &error))?;
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

    fn login(&self) -> RedisConnectionInfo {
        RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("larder", env!("CARGO_PKG_VERSION"))
    }

    fn client(&self, address: &Address, login: RedisConnectionInfo) -> RedisResult<Client> {
        let Address { host, port } = address.clone();
        let addr = match self.target.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        Client::open(
            addr.into_connection_info()?
                .set_redis_settings(login)
                .set_tcp_settings(TcpSettings::default().set_nodelay(true)),
        )
    }
}
