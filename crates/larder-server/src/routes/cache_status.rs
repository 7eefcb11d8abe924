//! `Cache-Status` (RFC 9211) and `Age`: who answered, why, and how long it still holds.

use std::sync::OnceLock;

use hyper::{
    HeaderMap,
    header::{AGE, HeaderName, HeaderValue},
};
use larder::cache::{MissReason, Read, Served};

use crate::routes::kept;

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Adds both headers to an answer that a read led to.
pub(crate) fn insert<V>(headers: &mut HeaderMap, read: &Read<V>) {
    let ttl_s = read.ttl.as_secs();
    let value = match (read.served, read.stale) {
        (Served::Near, false) => NEAR.get(ttl_s, |ttl| format!("larder; hit; ttl={ttl}; detail=near")),
        (Served::Shared, false) => SHARED.get(ttl_s, |ttl| format!("larder; hit; ttl={ttl}; detail=shared")),
        (Served::Near | Served::Shared, true) => HeaderValue::from_static("larder; hit; ttl=0; detail=stale"),
        (Served::Source, _) => HeaderValue::from_static(describe_miss(read.reason)),
    };
    headers.insert(CACHE_STATUS.clone(), value);
    if read.served != Served::Source {
        headers.insert(AGE, AGES.get(read.age.as_secs(), |age| age.to_string()));
    }
}

/// Marks an answer that never looked into the cache.
pub(crate) fn insert_bypass(headers: &mut HeaderMap) {
    headers.insert(CACHE_STATUS.clone(), HeaderValue::from_static("larder; fwd=bypass"));
}

fn describe_miss(reason: Option<MissReason>) -> &'static str {
    match reason {
        Some(MissReason::Cold) => "larder; fwd=miss; detail=cold",
        Some(MissReason::Expired) => "larder; fwd=stale; detail=expired",
        Some(MissReason::Invalidated) => "larder; fwd=miss; detail=invalidated",
        Some(MissReason::Purged) => "larder; fwd=miss; detail=purged",
        Some(MissReason::Evicted) => "larder; fwd=miss; detail=evicted",
        Some(MissReason::Error) => "larder; fwd=miss; detail=error",
        Some(MissReason::Corrupt) => "larder; fwd=miss; detail=corrupt",
        Some(MissReason::TooLarge) => "larder; fwd=miss; detail=too-large",
        Some(MissReason::Asked) => "larder; fwd=request; detail=asked",
        None => "larder; fwd=miss",
    }
}

/// Header values that end in a number of seconds, made once each and [`kept`]: a hit takes them as they are, without formatting.
struct Ladder([OnceLock<HeaderValue>; 4096]);

static NEAR: Ladder = Ladder::new();
static SHARED: Ladder = Ladder::new();
static AGES: Ladder = Ladder::new();

impl Ladder {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; 4096])
    }

    fn get(&self, seconds: u64, render: impl Fn(u64) -> String) -> HeaderValue {
        let words = "digits and words can stand in a header";
        match self.0.get(seconds as usize) {
            Some(step) => step.get_or_init(|| kept(render(seconds)).expect(words)).clone(),
            None => HeaderValue::try_from(render(seconds)).expect(words),
        }
    }
}
