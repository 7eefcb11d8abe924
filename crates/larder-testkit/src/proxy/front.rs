//! A proxy before each server of a deployment.

use std::sync::Arc;

use super::{Fault, Proxy, ports::Ports, steps::Steps};
use crate::redis::{Deployment, Server};

/// Stands between its clients and all servers of a [`Deployment`]. What the servers of a cluster say of each other's addresses
/// leads to the proxies too.
#[derive(Debug)]
pub struct Front {
    proxies: Vec<Proxy>,
    scheme: &'static str,
}

impl Front {
    /// Starts a proxy before each server.
    ///
    /// # Panics
    /// If no loopback port is free.
    pub async fn start(deployment: &Deployment) -> Self {
        let ports: Vec<u16> = deployment.servers().iter().map(Server::port).collect();
        let (mut proxies, steps) = (Vec::new(), Arc::<Steps>::default());
        for &port in &ports {
            proxies.push(Proxy::start_counting(port, Arc::clone(&steps)).await);
        }
        let pairs: Vec<_> = ports.into_iter().zip(proxies.iter().map(Proxy::port)).collect();
        for proxy in &proxies {
            proxy.shared.ports.set(Ports::new(&pairs)).expect("it has just started");
        }
        let scheme = match deployment {
            Deployment::Single(_) => "redis",
            Deployment::Cluster(_) => "redis-cluster",
        };
        Self { proxies, scheme }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        let addresses: Vec<_> =
            self.proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
        format!("{}://{}", self.scheme, addresses.join(","))
    }

    /// One before each server, in the order of [`Deployment::servers`].
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// All behave like `fault` from now on, as [`Proxy::set`] says.
    pub fn set(&self, fault: Fault) {
        self.proxies.iter().for_each(|proxy| proxy.set(fault));
    }

    /// Returns when a script has come as far as [`Fault::StopAt`] lets it, counted over all servers.
    pub async fn stopped(&self) {
        if let Some(proxy) = self.proxies.first() {
            proxy.stopped().await;
        }
    }

    /// Closes every connection there is, as [`Proxy::cut`] does.
    pub fn cut(&self) {
        self.proxies.iter().for_each(Proxy::cut);
    }
}
