//! `[limits]`: what a request may cost.

use std::time::Duration;

use crate::config::{reader::Reader, require_time, setting::ByteSize};

/// Sizes, counts and deadlines of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest body of a single document, in bytes.
    pub max_body_bytes: u64,
    /// The largest body of a bulk request, in bytes.
    pub max_bulk_bytes: u64,
    /// What the bodies of all requests together may take in memory, in bytes.
    pub max_body_memory_bytes: u64,
    /// The most documents in one bulk request.
    pub max_bulk_items: u32,
    /// The longest path and query, in bytes.
    pub max_uri_bytes: u64,
    /// The largest head of a request, in bytes.
    pub max_header_bytes: u64,
    /// How long a connection may bring no whole head of a request, finish none and take nothing of an answer before it is
    /// closed; it may take up to twice as long until that is noticed.
    pub idle_timeout: Duration,
    /// The most time a whole request may take, its body included.
    pub request_deadline: Duration,
    /// The most requests at work at one time; more are told to come back.
    pub max_in_flight: u32,
    /// The most open connections; more wait to be accepted.
    pub max_connections: u32,
    /// The largest body of an answer with several documents, in bytes.
    pub max_answer_bytes: u64,
    /// How many documents a page has when the request does not say.
    pub page_default: u32,
    /// The most documents on one page.
    pub page_max: u32,
    /// The largest offset; past it a cursor is needed.
    pub offset_max: u64,
    /// The most time that requests get to end when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_bulk_bytes: 16 << 20,
            max_body_memory_bytes: 256 << 20,
            max_bulk_items: 1_000,
            max_uri_bytes: 8 << 10,
            max_header_bytes: 32 << 10,
            idle_timeout: Duration::from_secs(30),
            request_deadline: Duration::from_secs(10),
            max_in_flight: 4_096,
            max_connections: 10_000,
            max_answer_bytes: 32 << 20,
            page_default: 50,
            page_max: 1_000,
            offset_max: 1_000,
            drain: Duration::from_secs(10),
        }
    }
}

/// Reads `[limits]`.
pub(super) fn read(mut table: Reader<'_>) -> Limits {
    let base = Limits::default();
    let page_max = table.get("page_max", base.page_max);
    let limits = Limits {
        max_body_bytes: table.get("max_body_bytes", ByteSize(base.max_body_bytes)).0,
        max_bulk_bytes: table.get("max_bulk_bytes", ByteSize(base.max_bulk_bytes)).0,
        max_body_memory_bytes: table.get("max_body_memory_bytes", ByteSize(base.max_body_memory_bytes)).0,
        max_bulk_items: table.get("max_bulk_items", base.max_bulk_items),
        max_uri_bytes: table.get("max_uri_bytes", ByteSize(base.max_uri_bytes)).0,
        max_header_bytes: table.get("max_header_bytes", ByteSize(base.max_header_bytes)).0,
        idle_timeout: table.get("idle_timeout", base.idle_timeout),
        request_deadline: table.get("request_deadline", base.request_deadline),
        max_in_flight: table.get("max_in_flight", base.max_in_flight),
        max_connections: table.get("max_connections", base.max_connections),
        max_answer_bytes: table.get("max_answer_bytes", ByteSize(base.max_answer_bytes)).0,
        page_default: table.get("page_default", base.page_default.min(page_max.max(1))),
        page_max,
        offset_max: table.get("offset_max", base.offset_max),
        drain: table.get("drain", base.drain),
    };
    check(&limits, &table);
    table.finish();
    limits
}

/// 16 MiB is the largest BSON document; a few of those are the largest thing worth holding in memory for one request.
const MAX_BODY_BYTES: u64 = 64 << 20;

fn check(limits: &Limits, table: &Reader<'_>) {
    for (key, bytes) in [("max_body_bytes", limits.max_body_bytes), ("max_bulk_bytes", limits.max_bulk_bytes)]
    {
        if !(1..=MAX_BODY_BYTES).contains(&bytes) {
            table.report(key, "must be between 1B and 64MiB");
        }
    }
    if limits.max_body_memory_bytes < limits.max_body_bytes.max(limits.max_bulk_bytes) {
        table.report("max_body_memory_bytes", "must be at least as much as the largest body");
    }
    if !(1 << 13..=1 << 20).contains(&limits.max_header_bytes) {
        table.report("max_header_bytes", "must be between 8KiB and 1MiB");
    }
    if !(256..=u64::from(u16::MAX)).contains(&limits.max_uri_bytes) {
        table.report("max_uri_bytes", "must be between 256B and 65535B");
    }
    for (key, count) in [
        ("max_bulk_items", limits.max_bulk_items),
        ("max_in_flight", limits.max_in_flight),
        ("max_connections", limits.max_connections),
        ("page_default", limits.page_default),
    ] {
        if count == 0 {
            table.report(key, "must be at least 1");
        }
    }
    if !(1..=10_000).contains(&limits.page_max) {
        table.report("page_max", "must be between 1 and 10000");
    } else if limits.page_default > limits.page_max {
        let message = format!("must be at most page_max, which is {}", limits.page_max);
        table.report("page_default", message);
    }
    if limits.max_answer_bytes == 0 {
        table
            .report("max_answer_bytes", "must be at least 1B; an answer of several documents has some bytes");
    }
    require_time(table, "request_deadline", limits.request_deadline);
    require_time(table, "idle_timeout", limits.idle_timeout);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::parse;

    #[test]
    fn a_page_is_by_default_no_larger_than_the_largest() {
        let limits = |text: &str| {
            let limits = parse("test", text, &BTreeMap::new()).unwrap().limits;
            (limits.page_default, limits.page_max)
        };
        assert_eq!(limits("[limits]\npage_max = 20"), (20, 20));
        assert_eq!(limits("[limits]\npage_max = 60"), (50, 60));
        let problems = parse("test", "[limits]\npage_default = 2000", &BTreeMap::new()).unwrap_err();
        let said = problems.to_string();
        assert!(said.contains("limits.page_default: must be at most page_max, which is 1000"), "{said}");
    }
}
