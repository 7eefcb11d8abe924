//! Asking a running server for one of its own pages.

use std::{error::Error, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, header::AUTHORIZATION};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::ServerArgs;

/// The longest that the server may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the server answers at this path.
///
/// # Errors
/// In words: the server does not answer in time, or it refuses, with its reason.
pub(super) async fn ask(server: &ServerArgs, path: &str) -> Result<Value, String> {
    let url = &server.url;
    let answer = match timeout(DEADLINE, fetch(server, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("{url}: {error}; is the server running?")),
        Err(_) => return Err(format!("{url}: no answer within {} s", DEADLINE.as_secs())),
    };
    match (answer["detail"].as_str(), answer.get("status")) {
        (Some(detail), Some(_)) => Err(format!("{url}: {detail}")),
        _ => Ok(answer),
    }
}

/// Text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

async fn fetch(server: &ServerArgs, path: &str) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let mut request = Request::get(format!("{}{path}", server.url.trim_end_matches('/')));
    if let Some(key) = &server.key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(Empty::new())?).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}
