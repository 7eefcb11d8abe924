//! Child processes that end with the test process, even when that is killed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A server under a small shell that waits on a pipe from us. When the pipe closes, because the handle was dropped or
/// this process died, the shell kills the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Guarded {
    shell: Child,
    pipe: Option<ChildStdin>,
    pid: u32,
}

// The server runs in the background and reads nothing; only the shell holds our pipe. `$1` is the folder to remove.
const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/server.log" 2>&1 3>&- &
server=$!
echo $server
exec >/dev/null 2>&1
read -r order
kill -9 $server
wait $server
if [ "$order" != keep ]; then rm -rf "$folder"; fi
"#;

impl Guarded {
    /// Starts `program`. `missing` is what the panic says if it is not installed.
    pub(crate) fn start(program: &str, args: &[String], folder: &Path, missing: &str) -> Self {
        Self::start_in(&[], program, args, folder, missing)
    }

    /// The same with more in its environment.
    pub(crate) fn start_in(
        environment: &[(&str, PathBuf)],
        program: &str,
        args: &[String],
        folder: &Path,
        missing: &str,
    ) -> Self {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\"", program])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        assert!(found, "{program} is not installed. {missing}");
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .arg(program)
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a POSIX shell starts");
        let pipe = shell.stdin.take();
        let stdout = shell.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout.take(64)).read_line(&mut line).expect("the shell tells the pid");
        let pid = line.trim().parse().expect("a pid is a number");
        Self { shell, pipe, pid }
    }

    /// Kills the server with SIGKILL and leaves its folder for the next one.
    pub(crate) fn kill(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // If the shell is gone, so is the server.
            let _ = pipe.write_all(b"keep\n");
        }
    }

    /// The server's own process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `name` (KILL, STOP, CONT, TERM) to the server itself.
    pub(crate) fn signal(&self, name: &str) {
        // By process id, of the one server we started. A server that is gone already is no failure.
        signal(name, self.pid);
    }
}

/// Sends a signal (KILL, STOP, CONT, TERM, INT) to a process, and says whether that was there to take it. The shell does it:
/// a bare system has no program for it.
pub fn signal(name: &str, pid: u32) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -\"$0\" \"$1\"", name, &pid.to_string()]).stderr(Stdio::null());
    shell.status().expect("a POSIX shell starts").success()
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}

/// A port that nobody listens on, low enough that `port + 10000` is a port as well (the cluster bus of Redis).
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
