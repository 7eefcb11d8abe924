//! What a run of the tests has to say at its end: which servers it met, and what they could not be asked.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
};

/// Says a line now, and again in the last lines of `cargo xtask test`, which counts equal ones.
///
/// Not by `eprintln!`, which the test harness keeps back when a test passes.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    // A closed stderr loses a remark, and nothing else.
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(report) = env::var_os("LARDER_TEST_REPORT") {
        // One short write in append mode is whole, whatever other test processes write.
        let file = OpenOptions::new().create(true).append(true).open(report);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the report of the tests can be written");
    }
}
