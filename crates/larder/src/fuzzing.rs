//! What must hold of every input that comes from outside, whatever its bytes: one function for each reader.
//!
//! These are the targets of the fuzzer in `fuzz/`; a test below also holds them against the seeds that are kept there, so
//! that they are compiled and run without it. No part of the public interface: this is compiled for the fuzzer and for
//! tests alone.

pub use crate::{
    cache::fuzzing::{behind_reply, dead_letter, entry, glob, log_event, script_reply, tenant_key, token},
    document::fuzzing::{
        bson, change_event, cursor, decimal, filter, ingest, instant, listing, patch, pipeline, query_body,
        watch_point,
    },
    redis::fuzzing::{redis_key, redis_reply, redis_stream, redis_url},
};

#[cfg(test)]
mod tests {
    use larder_testkit::seeds::{self, Property};

    const TARGETS: [(&str, Property); 24] = [
        ("behind_reply", super::behind_reply),
        ("bson", super::bson),
        ("change_event", super::change_event),
        ("cursor", super::cursor),
        ("dead_letter", super::dead_letter),
        ("decimal", super::decimal),
        ("entry", super::entry),
        ("filter", super::filter),
        ("glob", super::glob),
        ("ingest", super::ingest),
        ("instant", super::instant),
        ("listing", super::listing),
        ("log_event", super::log_event),
        ("patch", super::patch),
        ("pipeline", super::pipeline),
        ("query_body", super::query_body),
        ("redis_key", super::redis_key),
        ("redis_reply", super::redis_reply),
        ("redis_stream", super::redis_stream),
        ("redis_url", super::redis_url),
        ("script_reply", super::script_reply),
        ("tenant_key", super::tenant_key),
        ("token", super::token),
        ("watch_point", super::watch_point),
    ];

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_seeds() {
        seeds::check(&TARGETS, 200);
    }
}
