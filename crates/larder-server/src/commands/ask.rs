//! Asking a running server for one of its own pages.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, header::AUTHORIZATION};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    cli::{Options, ServerArgs},
    commands::{OK, TROUBLE, WRONG, complain, load_config},
};

/// The longest that the server may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub(super) struct Asked {
    url: String,
    key: Option<String>,
}

impl Asked {
    /// The server that is named, else the one that these options, the environment and the configuration would start here.
    ///
    /// # Errors
    /// In words: a URL that cannot be asked, or what is wrong with the configuration.
    pub(super) fn find(options: &Options, args: &ServerArgs) -> Result<Self, Unasked> {
        let url = url_of(options, args).map_err(|message| Unasked { code: WRONG, message })?;
        Ok(Self { url, key: args.key.clone() })
    }

    /// What the server answers at this path.
    ///
    /// # Errors
    /// In words: the server does not answer in time, or it refuses, with its reason.
    pub(super) async fn ask(&self, path: &str) -> Result<Value, Unasked> {
        let unasked = |why| Unasked { code: TROUBLE, message: format!("{}: {why}", self.url) };
        let answer = match timeout(DEADLINE, self.fetch(path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unasked(format!("{error}; is the server running?"))),
            Err(_) => return Err(unasked(format!("no answer within {} s", DEADLINE.as_secs()))),
        };
        match (answer["detail"].as_str(), answer.get("status")) {
            (Some(detail), Some(_)) => Err(unasked(detail.to_owned())),
            _ => Ok(answer),
        }
    }

    async fn fetch(&self, path: &str) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let mut request = Request::get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Empty::new())?).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Why a command has nothing to show: the code that it ends with, and what is wrong.
#[derive(Debug)]
pub(super) struct Unasked {
    code: u8,
    message: String,
}

/// The code that a command ends with which has shown what it was told, or says why not.
pub(super) fn ended(shown: Result<(), Unasked>) -> u8 {
    match shown {
        Ok(()) => OK,
        Err(Unasked { code, message }) => {
            complain(message);
            code
        }
    }
}

fn url_of(options: &Options, args: &ServerArgs) -> Result<String, String> {
    let url = match &args.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let listen = load_config(options).map_err(|problems| problems.to_string())?.config.listen;
            format!("http://{}", reachable(listen)?)
        }
    };
    match url.split_once("://") {
        Some(("http", _)) => Ok(url),
        Some(_) => Err(format!("--url {url}: must begin with http:// (this asks over plain HTTP only)")),
        None => Err(format!("--url {url}: write http://{url}")),
    }
}

/// Where a server that listens there can be asked from this machine.
fn reachable(listen: SocketAddr) -> Result<SocketAddr, String> {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    match listen.port() {
        0 => {
            Err("the server takes a free port (listen has port 0): name it by --url http://host:port"
                .to_owned())
        }
        port => Ok(SocketAddr::new(ip, port)),
    }
}

/// Text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_on_every_address_is_asked_on_this_machine() {
        for (listen, asked) in [
            ("127.0.0.1:7300", Ok("127.0.0.1:7300")),
            ("10.0.0.7:80", Ok("10.0.0.7:80")),
            ("0.0.0.0:7300", Ok("127.0.0.1:7300")),
            ("[::]:7300", Ok("[::1]:7300")),
        ] {
            let found = reachable(listen.parse().unwrap()).map(|address| address.to_string());
            assert_eq!(found.as_deref(), asked, "{listen}");
        }
        assert!(reachable("127.0.0.1:0".parse().unwrap()).unwrap_err().contains("--url"));
    }
}
