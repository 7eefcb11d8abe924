//! What must hold of every input that comes from outside, whatever its bytes: one function for each reader.
//!
//! These are the targets of the fuzzer in `fuzz/`; a test below also holds them against the seeds that are kept there, so
//! that they are compiled and run without it. No part of the public interface: this is compiled for the fuzzer and for
//! tests alone.

pub use crate::{
    cache::fuzzing::{dead_letter, entry, log_event, token},
    document::fuzzing::{bson, cursor, decimal, filter, ingest, instant, patch, pipeline},
    redis::fuzzing::{redis_key, redis_reply, redis_url},
};

#[cfg(test)]
mod tests {
    use larder_testkit::seeds::{self, Property};

    const TARGETS: [(&str, Property); 15] = [
        ("bson", super::bson),
        ("cursor", super::cursor),
        ("dead_letter", super::dead_letter),
        ("decimal", super::decimal),
        ("entry", super::entry),
        ("filter", super::filter),
        ("ingest", super::ingest),
        ("instant", super::instant),
        ("log_event", super::log_event),
        ("patch", super::patch),
        ("pipeline", super::pipeline),
        ("redis_key", super::redis_key),
        ("redis_reply", super::redis_reply),
        ("redis_url", super::redis_url),
        ("token", super::token),
    ];

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_seeds() {
        seeds::check(&TARGETS, 200);
    }
}
