//! A running `larder`, in a folder of its own, that ends with the test.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    time::Duration,
};

use larder_testkit::{eventually, signal};
use tempfile::TempDir;

use crate::client::{Answer, Client};

/// The longest that a start, a stop or anything else a test waits for may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the server until it ends or our pipe closes, and leaves its exit code in the file `exit`. The pipe closes when
/// the test process dies, however it dies.
const GUARD: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null >"$folder/out" 2>&1 3<&- &
server=$!
echo $server
exec >/dev/null 2>&1
(read -r _ <&3; kill -9 $server) 2>/dev/null &
watcher=$!
wait $server
echo $? >"$folder/exit.part"
mv "$folder/exit.part" "$folder/exit"
kill $watcher
"#;

/// A server that answers. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Larder {
    folder: TempDir,
    pid: u32,
    shell: Child,
    pipe: Option<ChildStdin>,
    client: Client,
}

impl Larder {
    /// Starts a server with this configuration, on a free port and with an empty database, and waits until it answers.
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// The same, with further arguments.
    pub(crate) async fn start_with(config: &str, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let config_path = folder.path().join("larder.toml");
        fs::write(&config_path, config).expect("the folder can be written to");
        let config_path = config_path.to_str().expect("the folder's name is UTF-8").to_owned();
        Self::start_in(folder, &[&["--config", &config_path], arguments].concat()).await
    }

    /// Starts a server in this folder without a configuration file.
    pub(crate) async fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let ready = folder.path().join("ready");
        let _ = fs::remove_file(&ready);
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder.path())
            .arg(binary())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .env("LARDER_LOG", "debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a POSIX shell starts");
        let pipe = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the shell tells");
        let pid = line.trim().parse().expect("a pid is a number");
        let exit = folder.path().join("exit");
        // The first start of all loads the sample shop, which a debug build on a busy machine takes its time for.
        eventually("the server starts", PATIENCE * 9, || async { ready.exists() || exit.exists() }).await;
        let Ok(address) = fs::read_to_string(&ready) else {
            panic!(
                "the server did not start: {}",
                fs::read_to_string(folder.path().join("out")).unwrap_or_default()
            );
        };
        let client = Client::new(format!("http://{address}"));
        Self { folder, pid, shell, pipe, client }
    }

    /// Its folder: the configuration in `larder.toml`, the database in `data`, what it printed in `out`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it printed and logged so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// `http://address:port`
    pub(crate) fn url(&self) -> &str {
        self.client.base()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a signal: TERM, INT.
    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(name, self.pid), "the server is there to take {name}");
    }

    /// Waits for the server to end by itself, and returns its exit code.
    pub(crate) async fn exit_code(&self) -> i32 {
        let exit = self.folder.path().join("exit");
        eventually("the server ends", PATIENCE, || async { exit.exists() }).await;
        let code = fs::read_to_string(exit).expect("the file is there");
        code.trim().parse().expect("an exit code is a number")
    }

    /// Stops it in good order, and gives back its folder for the next one.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.signal("TERM");
        self.exit_code().await;
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a temporary folder"));
        let _ = fs::remove_file(folder.path().join("exit"));
        folder
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.send("GET", path, &[], "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.client.send("GET", path, headers, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.client.send("POST", path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Answer {
        self.client.send("PUT", path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> Answer {
        self.client.send("PATCH", path, &[("content-type", "application/merge-patch+json")], body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.client.send("DELETE", path, &[], "").await
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // If the shell is gone, so is the server.
            let _ = pipe.write_all(b"end\n");
        }
        let _ = self.shell.wait();
    }
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_larder").into()
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command.output().expect("the binary starts")
}
