//! One MongoDB: where it came from, how to reach it, and how to make it suffer.

use std::{env, fmt, fs, path::PathBuf, time::Duration};

use bson::{Bson, Document, doc};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::{
    mongo::{mongod, stand_in, wire},
    process::{Guarded, free_port},
    wait::holds_within,
};

const START_PATIENCE: Duration = Duration::from_secs(60);

/// Where a server came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named by `LARDER_TEST_MONGO`; it is not ours to break.
    Given,
    /// A `mongod` that the test kit started.
    Mongod,
    /// The Java stand-in.
    StandIn,
}

/// A MongoDB to test against. One that the test kit started dies with it.
#[derive(Debug)]
pub struct Server {
    origin: Origin,
    version: String,
    /// Up to where the database name belongs, and what follows it.
    url: (String, String),
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    port: u16,
    folder: PathBuf,
    process: Mutex<Option<Guarded>>,
}

impl Server {
    pub(super) fn given_or_started() -> Self {
        let server = match env::var("LARDER_TEST_MONGO") {
            Ok(url) if !url.is_empty() => Self::given(&url),
            _ => Self::start(),
        };
        super::note(&server.to_string());
        server
    }

    fn given(url: &str) -> Self {
        let (rest, options) = url.split_once('?').unwrap_or((url, ""));
        let authority_end = rest.find("://").map_or(0, |at| at + 3);
        let path = rest[authority_end..].find('/').map_or(rest.len(), |at| authority_end + at);
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        Self {
            origin: Origin::Given,
            version: String::new(),
            url: (format!("{}/", &rest[..path]), options),
            started: None,
        }
    }

    /// Starts a server of one's own, for tests that kill it, stop it, or change what all its clients see.
    ///
    /// # Panics
    /// If none can be started, naming the command that helps.
    pub fn start() -> Self {
        let origin = if mongod::is_installed() { Origin::Mongod } else { Origin::StandIn };
        let folder = TempDir::with_prefix("larder-mongo-").expect("there is a temporary folder").keep();
        let mut started = Started { port: 0, folder, process: Mutex::new(None) };
        started.port = started.run(origin);
        let info = wire::must(started.port, "admin", doc! { "buildInfo": 1 });
        Self {
            origin,
            version: info.get_str("version").unwrap_or("?").to_owned(),
            url: (format!("mongodb://127.0.0.1:{}/", started.port), "?directConnection=true".to_owned()),
            started: Some(started),
        }
    }

    /// Where it came from, for the words of a report only: tests ask a server what it can do.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The connection string for a database.
    pub fn url(&self, database: &str) -> String {
        format!("{}{database}{}", self.url.0, self.url.1)
    }

    /// The port it listens on.
    ///
    /// # Panics
    /// If the server is not ours.
    pub fn port(&self) -> u16 {
        self.ours().port
    }

    /// Runs a command that has to succeed, on a connection of its own.
    ///
    /// # Panics
    /// If it is refused, or the server is not ours.
    pub fn command(&self, database: &str, command: Document) -> Document {
        wire::must(self.ours().port, database, command)
    }

    /// Makes the server lose the change history so far of a namespace ("shop.products"), a database ("shop"), or, given
    /// "", of everything. `false` when this server has no way to do so at once.
    pub fn forget_changes(&self, namespace: &str) -> bool {
        let can = self.origin == Origin::StandIn;
        if can {
            self.command("admin", doc! { "larderForgetChanges": namespace });
        }
        can
    }

    /// Kills it with SIGKILL. Its data stays, and so does its port; see [`Server::restart`].
    ///
    /// # Panics
    /// If the server is not ours.
    pub fn kill(&self) {
        let process = self.ours().process.lock().take();
        if let Some(process) = process {
            process.kill();
        }
    }

    /// Starts it again after a [`Server::kill`], on its old port and data.
    ///
    /// # Panics
    /// If it does not come up, or is not ours.
    pub fn restart(&self) {
        self.kill();
        self.ours().run(self.origin);
    }

    /// Stops it with SIGSTOP: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// If the server is not ours.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after a [`Server::pause`].
    ///
    /// # Panics
    /// If the server is not ours.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.ours().process.lock();
        process.as_ref().expect("the server is running").signal(signal);
    }

    fn ours(&self) -> &Started {
        self.started.as_ref().expect("a server named by LARDER_TEST_MONGO is not the test kit's to control")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Given => f.write_str("the one that LARDER_TEST_MONGO names"),
            Origin::Mongod => write!(f, "mongod {}, one-node replica set", self.version),
            Origin::StandIn => {
                write!(f, "mongo-java-server with Larder's change feed, standing in for {}", self.version)
            }
        }
    }
}

impl Started {
    /// Starts the process, waits until it takes commands, and returns its port.
    fn run(&self, origin: Origin) -> u16 {
        let port = if self.port == 0 { free_port() } else { self.port };
        let data = self.folder.join("data");
        fs::create_dir_all(&data).expect("the temporary folder can be written to");
        let (program, arguments) = match origin {
            Origin::StandIn => ("java", stand_in::arguments(port, &data.join("file"))),
            Origin::Mongod | Origin::Given => ("mongod", mongod::arguments(port, &data)),
        };
        let process = Guarded::start(program, &arguments, &self.folder, stand_in::REMEDY);
        // The process id tells our server from another one that took the port first.
        let pid = process.pid().into();
        self.wait(port, "serverStatus", |status| status.get("pid").and_then(as_integer) == Some(pid));
        if origin == Origin::Mongod {
            mongod::initiate(port);
        }
        self.wait(port, "hello", |hello| hello.get_bool("isWritablePrimary").unwrap_or(false));
        *self.process.lock() = Some(process);
        port
    }

    /// Asks until the answer will do.
    fn wait(&self, port: u16, command: &str, will_do: impl Fn(&Document) -> bool) {
        let answered = holds_within(START_PATIENCE, || {
            wire::command(port, "admin", doc! { command: 1 }).is_ok_and(|answer| will_do(&answer))
        });
        let log = || fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        assert!(answered, "the MongoDB of the tests did not start within {START_PATIENCE:?}: {}", log());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.process.lock().take());
        // Left only if the server was killed before; a process that ends here takes its folder along.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn as_integer(value: &Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}
