//! What could not run on the MongoDB at hand is said and counted, never passed over in silence.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    thread,
};

use crate::mongo::stand_in;

/// Notes that a test could not look at something because the server lacks it. The run's last lines repeat every note:
/// `cargo xtask test` reads them from `target/testkit/not-run`.
pub fn not_run(what: &str) {
    let test = thread::current().name().map(|name| format!(" ({name})")).unwrap_or_default();
    let note = format!("not run on this MongoDB: {what}{test}\n");
    // Not `eprintln!`, which the test harness keeps back when a test passes.
    let _ = io::stderr().write_all(note.as_bytes());
    let file = stand_in::kit_folder().join("not-run");
    // One short write in append mode is whole, whatever other test processes write.
    let written = OpenOptions::new().create(true).append(true).open(file);
    written
        .and_then(|mut file| file.write_all(note.as_bytes()))
        .expect("the target folder can be written to");
}
