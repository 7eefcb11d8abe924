//! Pages of other sites, in a browser (CORS, as the Fetch standard has it): what tells the browser that they may call.
//!
//! Keys and tokens come in headers that a page sets itself, never in cookies, so no answer allows credentials.

use hyper::{
    Method,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
        HeaderValue, ORIGIN, VARY,
    },
    http::request::Parts,
};

use crate::{config::CorsSettings, routes::Answer};

/// What pages may send, beside what every page may.
const TAKEN: HeaderValue = HeaderValue::from_static(
    "Authorization, Cache-Control, Content-Type, If-Match, If-None-Match, Prefer, X-API-Key, X-Larder-Cache, X-Larder-Token",
);
/// What pages may see, beside what every page may.
const SHOWN: HeaderValue = HeaderValue::from_static(
    "Accept-Patch, Accept-Query, Age, Allow, Cache-Status, ETag, Link, Location, Preference-Applied, Retry-After, \
     WWW-Authenticate, X-Larder-Token",
);

/// The sites whose pages may call.
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    is_for_all: bool,
    max_age_seconds: HeaderValue,
}

impl Cors {
    /// `None` if no other site's pages may call.
    pub(crate) fn of(settings: &CorsSettings) -> Option<Self> {
        let origins: Vec<_> =
            settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        let max_age_seconds = HeaderValue::from(settings.max_age.as_secs());
        let is_for_all = settings.is_for_all();
        (!origins.is_empty()).then_some(Self { origins, is_for_all, max_age_seconds })
    }

    /// Tells the browser, if the request comes from a page that may call. Whatever the answer is, so that a page sees what went
    /// wrong.
    pub(super) fn mark(&self, head: &Parts, answer: &mut Answer) {
        let allow = answer.headers().get(ALLOW).cloned();
        let headers = answer.headers_mut();
        if !self.is_for_all {
            // What is kept of this answer is not for a page of another site.
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = head.headers.get(ORIGIN) else { return };
        if self.is_for_all {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if self.origins.contains(origin) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        } else {
            return;
        }
        if head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
            headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age_seconds.clone());
            if let Some(allow) = allow {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
            }
        } else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
        }
    }
}
