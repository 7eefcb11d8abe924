//! One `redis-server` of our own.

use std::{net::TcpStream, time::Duration};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
    disk::Disk,
    resp::{Reply, ask},
};
use crate::{
    process::{Guarded, free_port},
    tls::Identity,
    wait::holds_within,
};

const MISSING: &str =
    "Install it with `apt-get install redis-server` (Debian, Ubuntu) or `brew install redis`.";

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether it keeps an append-only file. Default: no.
    pub append_only: bool,
    /// When that file is synced to the disk. Default: with every write, so that a restart loses nothing.
    pub fsync: Fsync,
    /// Whether its machine may die ([`Server::lose_power`]). Default: no, which spares a C compiler its work.
    pub may_lose_power: bool,
    /// Further settings, such as `["--maxmemory", "5mb"]`.
    pub config: Vec<String>,
    /// Whether it listens for TLS as well, on a port of its own.
    pub tls: Option<Tls>,
    /// User and password the test kit itself logs in with, if the settings ask for a login.
    pub credentials: Option<(String, String)>,
}

impl Options {
    /// Adds settings as on the command line: `["--maxmemory", "5mb"]`.
    #[must_use]
    pub fn with(mut self, config: &[&str]) -> Self {
        self.config.extend(config.iter().map(|&setting| setting.to_owned()));
        self
    }
}

/// When an append-only file is synced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before a write is acknowledged.
    #[default]
    Always,
    /// About once a second, behind the acknowledgements: the default of Redis.
    EverySecond,
    /// Never: the system writes its buffers when it likes. Its machine does so when it is told to
    /// ([`Server::write_buffers`]).
    Never,
}

impl Fsync {
    /// As Redis calls it (`appendfsync`).
    pub fn as_setting(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "no",
        }
    }
}

/// What a TLS server shows and asks for.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate it shows.
    pub identity: Identity,
    /// If set, clients have to show a certificate that this authority has signed (PEM).
    pub clients: Option<String>,
}

/// A `redis-server` on a free port of the loopback interface. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct Server {
    port: u16,
    tls_port: u16,
    role: Role,
    options: Options,
    folder: TempDir,
    process: Mutex<Option<Guarded>>,
}

#[derive(Clone, Debug)]
enum Role {
    Data,
    /// With the text of its configuration file.
    Sentinel(String),
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    pub fn start(options: &Options) -> Self {
        Self::start_as(&Role::Data, options)
    }

    pub(super) fn start_sentinel(password: &str, config: &str) -> Self {
        let login = || ("default".to_owned(), password.to_owned());
        let credentials = (!password.is_empty()).then(login);
        Self::start_as(&Role::Sentinel(config.to_owned()), &Options { credentials, ..Options::default() })
    }

    fn start_as(role: &Role, options: &Options) -> Self {
        for _attempt in 0..5 {
            let folder = TempDir::with_prefix("larder-redis-").expect("the temporary folder is writable");
            if options.may_lose_power {
                Disk(folder.path()).make();
            }
            let server = Self {
                port: free_port(),
                tls_port: if options.tls.is_some() { free_port() } else { 0 },
                role: role.clone(),
                options: options.clone(),
                folder,
                process: Mutex::new(None),
            };
            match server.launch() {
                Ok(()) => return server,
                // Somebody else took the port in between.
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("redis-server does not start: {log}"),
            }
        }
        panic!("redis-server finds no free port");
    }

    /// `redis://127.0.0.1:<port>`, without credentials.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens for TLS, if it does.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Sends one command over a connection of its own.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn ask(&self, command: &[&str]) -> Reply {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}; {}", self.log()))
    }

    /// Kills the server with SIGKILL: nothing is saved, nobody is told.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().take() {
            process.kill();
        }
    }

    /// Kills the server as the death of its machine does: of its append-only file only what was synced is left. Returns how many
    /// bytes were lost.
    ///
    /// # Panics
    /// If it was not started for that.
    pub fn lose_power(&self) -> u64 {
        self.kill();
        self.disk().lose()
    }

    /// Kills the server and loses its data files. What a cluster knows of it stays: whoever replaces a disk tells it again.
    ///
    /// # Panics
    /// If it has no append-only file that could be lost.
    pub fn lose_files(&self) {
        self.kill();
        let files = self.folder.path().join("appendonlydir");
        std::fs::remove_dir_all(&files).unwrap_or_else(|error| panic!("{}: {error}", files.display()));
    }

    /// How many bytes of its append-only file would be lost now.
    ///
    /// # Panics
    /// If it was not started for that.
    pub fn unsynced(&self) -> u64 {
        self.disk().unsynced()
    }

    /// While the disk is busy no sync comes to its end.
    ///
    /// # Panics
    /// If it was not started with a machine that may die.
    pub fn set_disk_busy(&self, busy: bool) {
        self.disk().set_busy(busy);
    }

    /// Its system writes its buffers: what the server has handed to it until now is on the disk.
    ///
    /// # Panics
    /// If it was not started with a machine that may die.
    pub fn write_buffers(&self) {
        self.disk().write_buffers();
    }

    fn disk(&self) -> Disk<'_> {
        assert!(self.options.may_lose_power, "it was not started for that");
        Disk(self.folder.path())
    }

    /// Starts it again on the same port, with what its append-only file holds if it has one.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&self) {
        self.kill();
        if let Err(log) = self.launch() {
            panic!("redis-server does not start again: {log}");
        }
    }

    /// Stops the process in its tracks (SIGSTOP): connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &*self.process.lock() {
            process.signal(name);
        }
    }

    fn launch(&self) -> Result<(), String> {
        let folder = self.folder.path();
        let environment = self.options.may_lose_power.then(|| Disk(folder).environment());
        let process = Guarded::start_in(
            environment.as_slice().as_flattened(),
            "redis-server",
            &self.args(),
            folder,
            MISSING,
        );
        *self.process.lock() = Some(process);
        let answers = || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && self.try_ask(&["PING"]).is_ok_and(|reply| reply.text() == Some("PONG"))
        };
        // The bound is long because the machine may be busy compiling.
        if holds_within(Duration::from_secs(15), answers) {
            return Ok(());
        }
        self.kill();
        Err(self.log())
    }

    fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        let mut add = |more: &[&str]| args.extend(more.iter().map(|&arg| arg.to_owned()));
        let folder = self.folder.path().display().to_string();
        let port = self.port.to_string();
        match &self.role {
            Role::Sentinel(config) => add(&[&self.write("sentinel.conf", config), "--sentinel"]),
            Role::Data => {
                let append_only = if self.options.append_only { "yes" } else { "no" };
                add(&[
                    "--save",
                    "",
                    "--appendonly",
                    append_only,
                    "--appendfsync",
                    self.options.fsync.as_setting(),
                ]);
            }
        }
        add(&["--port", &port, "--bind", "127.0.0.1", "--dir", &folder]);
        if let Some(tls) = &self.options.tls {
            let certificate = self.write("server.crt", &tls.identity.certificate);
            let key = self.write("server.key", &tls.identity.key);
            let ask = if tls.clients.is_some() { "yes" } else { "no" };
            let authority = self.write("ca.crt", tls.clients.as_ref().unwrap_or(&tls.identity.certificate));
            add(&[
                "--tls-port",
                &self.tls_port.to_string(),
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
            ]);
            add(&["--tls-ca-cert-file", &authority, "--tls-auth-clients", ask]);
        }
        args.extend(self.options.config.iter().cloned());
        args
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the temporary folder is writable");
        path.display().to_string()
    }

    fn try_ask(&self, command: &[&str]) -> std::io::Result<Reply> {
        let credentials = self.options.credentials.as_ref();
        ask(self.port, credentials.map(|(user, password)| (user.as_str(), password.as_str())), command)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}
