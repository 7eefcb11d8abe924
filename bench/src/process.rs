//! A server in a process of its own, and the processor time it has used.

use std::{
    fs, io,
    io::{Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The port it listens on.
    pub port: u16,
}

impl Process {
    /// Starts `command` and waits until `port` accepts connections.
    ///
    /// # Errors
    /// When the program cannot be started, ends early, or does not listen within a minute.
    pub fn start(command: &mut Command, port: u16) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut process = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!("{command:?} ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{command:?} does not listen on {port}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Starts a Redis that keeps nothing on disk.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn redis(folder: &Path) -> io::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        Self::start(command.arg("--dir").arg(folder), port)
    }

    /// User and system time of the whole process since its start.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15, counted behind the name, which may hold spaces; the kernel's tick is 10 ms.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes of memory the process holds.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        resident_bytes(&self.child.id().to_string())
    }

    /// The body of a GET, and whether the status was 200.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn get(&self, path: &str) -> io::Result<(bool, String)> {
        get(("127.0.0.1", self.port), path)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
///
/// # Errors
/// When the loopback interface has none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The body of a GET, and whether the status was 200.
///
/// # Errors
/// When the connection fails.
pub fn get(address: impl ToSocketAddrs, path: &str) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.starts_with("HTTP/1.1 200"), body.to_owned()))
}

/// Bytes of memory the process `pid` holds; `self` is this one.
///
/// # Errors
/// When the process is gone.
pub fn resident_bytes(pid: &str) -> io::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most bytes of memory the process `pid` has held so far.
///
/// # Errors
/// When the process is gone.
pub fn peak_bytes(pid: &str) -> io::Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: &str, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024)
}
