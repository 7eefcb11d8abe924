//! The server's own pages: the dashboard, and what is said of an address that means nothing.

use hyper::{StatusCode, header::HeaderValue};

use crate::{
    dashboard,
    routes::{Answer, Refusal, fresh},
};

/// A page by its path.
///
/// # Errors
/// 404 for everything that is not there, 405 for other methods than reading.
pub(crate) fn find(path: &str, is_read: bool) -> Result<Answer, Refusal> {
    let Some(file) = dashboard::file(path) else {
        let is_nearly = path.starts_with("/v1/") && path.len() > 4 && path.ends_with('/');
        return Err(Refusal::not_found(if is_nearly {
            "there is nothing at this address; leave out the last \"/\""
        } else {
            "there is nothing at this address; /openapi.json lists what there is"
        }));
    };
    if !is_read {
        return Err(Refusal::method("GET, HEAD, OPTIONS"));
    }
    let mut answer = fresh(StatusCode::OK, file.content_type, file.text);
    for (name, value) in dashboard::HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}
