//! Runs the property `redis_reply` on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::fuzzing::redis_reply(data));
