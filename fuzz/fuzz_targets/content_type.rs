//! Runs the property `content_type` on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_server::fuzzing::content_type(data));
