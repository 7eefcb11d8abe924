//! Who is measured: the floor, Larder, and what people write by hand today.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{documents, process::Process};

/// Where a hit is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In the process that answers.
    Near,
    /// In Redis, one round trip away.
    Shared,
}

impl Tier {
    /// The word used in commands and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Shared => "shared",
        }
    }
}

/// A server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// axum with a fixed body, or with one bare Redis GET.
    Axum,
    /// The `larder` binary, which answers on a thread for each core.
    Larder,
    /// The same with `threads = 1`, as a process of Node has one.
    LarderOneThread,
    /// Fastify with ioredis.
    Fastify,
    /// Express with ioredis.
    Express,
}

/// One row of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Which server.
    pub kind: Kind,
    /// Which tier answers.
    pub tier: Tier,
}

/// What the servers are started with.
#[derive(Debug)]
pub struct Lab {
    /// An empty folder of this run.
    pub folder: PathBuf,
    /// The documents, one a line.
    pub documents: PathBuf,
    /// The Redis of this run.
    pub redis_url: String,
}

/// All contenders, in the order of the tables.
pub const ALL: [Contender; 10] = [
    Contender { kind: Kind::Axum, tier: Tier::Near },
    Contender { kind: Kind::Larder, tier: Tier::Near },
    Contender { kind: Kind::LarderOneThread, tier: Tier::Near },
    Contender { kind: Kind::Fastify, tier: Tier::Near },
    Contender { kind: Kind::Express, tier: Tier::Near },
    Contender { kind: Kind::Axum, tier: Tier::Shared },
    Contender { kind: Kind::Larder, tier: Tier::Shared },
    Contender { kind: Kind::LarderOneThread, tier: Tier::Shared },
    Contender { kind: Kind::Fastify, tier: Tier::Shared },
    Contender { kind: Kind::Express, tier: Tier::Shared },
];

impl Contender {
    /// The name in the tables.
    pub const fn name(self) -> &'static str {
        match (self.kind, self.tier) {
            (Kind::Axum, Tier::Near) => "axum, fixed body",
            (Kind::Axum, Tier::Shared) => "axum + one GET",
            (Kind::Larder, Tier::Near) => "Larder, near hit",
            (Kind::Larder, Tier::Shared) => "Larder, shared hit",
            (Kind::LarderOneThread, Tier::Near) => "Larder on one thread, near hit",
            (Kind::LarderOneThread, Tier::Shared) => "Larder on one thread, shared hit",
            (Kind::Fastify, Tier::Near) => "Fastify + lru-cache",
            (Kind::Fastify, Tier::Shared) => "Fastify + ioredis",
            (Kind::Express, Tier::Near) => "Express + lru-cache",
            (Kind::Express, Tier::Shared) => "Express + ioredis",
        }
    }

    /// Starts the server, and makes every document a hit.
    ///
    /// # Errors
    /// When it does not start, or answers with other bytes than the documents'.
    pub fn start(self, lab: &Lab) -> io::Result<Process> {
        let port = crate::process::free_port()?;
        let process = Process::start(&mut self.command(lab, port)?, port)?;
        for index in 0..documents::COUNT {
            let (ok, body) = process.get(&documents::path(index))?;
            let wanted = if self.kind == Kind::Axum && self.tier == Tier::Near { 0 } else { index };
            if !ok || body != documents::json(wanted) {
                return Err(io::Error::other(format!(
                    "{} answers {}: {body}",
                    self.name(),
                    documents::path(index)
                )));
            }
        }
        Ok(process)
    }

    fn command(self, lab: &Lab, port: u16) -> io::Result<Command> {
        let port = port.to_string();
        match self.kind {
            Kind::Axum => {
                let mut command = Command::new(env::current_exe()?.with_file_name("baseline"));
                command.args([self.tier.name(), &port, &lab.redis_url]);
                Ok(command)
            }
            Kind::Larder => larder(self, lab, &port),
            Kind::LarderOneThread => {
                let mut command = larder(self, lab, &port)?;
                command.env("LARDER_THREADS", "1");
                Ok(command)
            }
            Kind::Fastify => Ok(node("fastify.js", self.tier, lab, &port)),
            Kind::Express => Ok(node("express.js", self.tier, lab, &port)),
        }
    }
}

fn node(script: &str, tier: Tier, lab: &Lab, port: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_ENV", "production").current_dir(peers()).args([script, tier.name(), port]);
    command.arg(&lab.documents).arg(&lab.redis_url);
    command
}

/// The folder of the JavaScript contenders.
pub fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/node")
}

/// The release build of the server, which `cargo xtask bench` makes first.
pub fn larder_binary() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/larder")
}

/// A configuration and a database of its own, filled with the documents at the first start.
fn larder(contender: Contender, lab: &Lab, port: &str) -> io::Result<Command> {
    let folder = lab.folder.join(contender.name());
    let is_first = !folder.exists();
    fs::create_dir_all(&folder)?;
    let file = folder.join("larder.toml");
    fs::write(&file, configuration(contender.tier, lab, &folder, port))?;
    if is_first {
        let mut import = Command::new(larder_binary());
        import.arg("--config").arg(&file).args(["import", "products"]).arg(&lab.documents);
        let output = import.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
    }
    let mut command = Command::new(larder_binary());
    command.arg("--config").arg(&file).args(["serve", "--no-sample"]).env("LARDER_LOG", "warn");
    Ok(command)
}

/// One setting apart: near hits come from this process, shared hits from Redis with the near tier off.
fn configuration(tier: Tier, lab: &Lab, folder: &Path, port: &str) -> String {
    let settings = match tier {
        Tier::Near => "[cache]\nttl = \"1h\"\n".to_owned(),
        Tier::Shared => {
            format!("[redis]\nurl = \"{}\"\n[cache]\nttl = \"1h\"\nnear_ttl = \"0s\"\n", lab.redis_url)
        }
    };
    documents::configuration(&format!("127.0.0.1:{port}"), folder, &settings)
}
