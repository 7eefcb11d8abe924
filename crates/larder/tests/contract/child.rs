//! Processes of a test's own, which die while they do something.

use std::{
    env,
    io::Write as _,
    process::{Child, Command, Stdio},
};

const JOB: &str = "LARDER_TEST_CRASH_JOB";
pub(crate) const SIGABRT: i32 = 6;
pub(crate) const SIGKILL: i32 = 9;

/// A process that ends with its handle.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one test of this program, by its whole name, in a process of its own that finds there what it is to do.
pub(crate) fn start(test: &str, job: &str) -> Killed {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(JOB, job);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// What this process is to do, if it is one of those.
pub(crate) fn job() -> Option<String> {
    env::var(JOB).ok()
}

/// To the process that has started this one, at once.
pub(crate) fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).expect("the pipe is open");
}
