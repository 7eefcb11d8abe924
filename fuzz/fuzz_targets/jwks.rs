//! Runs the property `jwks` on what the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_server::fuzzing::jwks(data));
