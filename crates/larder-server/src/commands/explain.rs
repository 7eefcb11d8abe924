//! `larder explain COLLECTION KEY`: asks a running server what its tiers know of one document.

use std::fmt::Write;

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, header::AUTHORIZATION};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    cli::ExplainArgs,
    commands::{OK, TROUBLE, complain, say},
};

/// The longest that the server may take.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// Prints what the server says.
pub(crate) async fn run(args: &ExplainArgs) -> u8 {
    match timeout(DEADLINE, ask(args)).await {
        Ok(Ok(answer)) => {
            say(describe(&answer));
            if answer.get("status").is_some() { TROUBLE } else { OK }
        }
        Ok(Err(error)) => {
            complain(format_args!("{}: {error}; is the server running?", args.url));
            TROUBLE
        }
        Err(_) => {
            complain(format_args!("{}: no answer within {} s", args.url, DEADLINE.as_secs()));
            TROUBLE
        }
    }
}

async fn ask(args: &ExplainArgs) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let segment = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let base = args.url.trim_end_matches('/');
    let uri = format!("{base}/v1/_explain/{}/{}", segment(&args.collection), segment(&args.id));
    let mut request = Request::get(uri);
    if let Some(key) = &args.key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(Empty::new())?).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// One line for each member, nested ones with their path; a problem by its detail.
fn describe(answer: &Value) -> String {
    if let (Some(detail), Some(_)) = (answer["detail"].as_str(), answer.get("status")) {
        return detail.to_owned();
    }
    let mut text = String::new();
    describe_into(answer, "", &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn describe_into(value: &Value, path: &str, text: &mut String) {
    let Value::Object(members) = value else {
        let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = writeln!(text, "{path:<24} {shown}");
        return;
    };
    for (name, member) in members.iter().filter(|(_, member)| !member.is_null()) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        describe_into(member, &path, text);
    }
}
