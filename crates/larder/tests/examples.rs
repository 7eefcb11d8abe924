//! Every example runs to its end: in process where that is enough, and with the servers that it can use.

use std::{
    collections::BTreeSet,
    env,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use larder_testkit::{eventually, mongo, redis};
use parking_lot::Mutex;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// Those that need no server; with `REDIS_URL` they share their cache.
const IN_PROCESS: [&str; 13] = [
    "cache_aside",
    "conditional",
    "documents",
    "invalidation",
    "lifetimes",
    "lists",
    "partial",
    "read_through",
    "refresh_ahead",
    "stale",
    "tenants",
    "write_around",
    "write_through",
];
const WITH_REDIS: &str = "write_behind";
const WITH_MONGODB: &str = "watch";

/// Where Cargo puts the examples, which it builds with all tests of the package, and not with one suite alone.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a process knows its program");
    let folder = test.ancestors().nth(2).expect("tests are in target/debug/deps").join("examples");
    let program = folder.join(name).with_extension(env::consts::EXE_EXTENSION);
    let built_at = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let is_current = built_at(&program) >= built_at(&Path::new(SOURCES).join(name).with_extension("rs"));
    assert!(is_current, "{} is missing or old: `cargo build -p larder --examples`", program.display());
    program
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs an example, which has to end well and soon.
async fn run(name: &str, arguments: &[String], redis: Option<&str>) {
    let mut command = Command::new(program(name));
    command.args(arguments).env_remove("REDIS_URL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(url) = redis {
        command.env("REDIS_URL", url);
    }
    let running = Mutex::new(Running(command.spawn().expect("the program starts")));
    let has_ended = || running.lock().0.try_wait().expect("a child can be asked").is_some();
    eventually(&format!("{name} ends"), Duration::from_secs(60), || async { has_ended() }).await;
    let Running(child) = &mut *running.lock();
    let status = child.wait().expect("it has ended");
    let (mut output, mut errors) = (String::new(), String::new());
    child.stdout.take().expect("it is piped").read_to_string(&mut output).expect("it is text");
    child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
    assert!(status.success(), "{name} ends with {status}: {errors}");
    assert!(!output.is_empty(), "{name} shows nothing");
}

#[tokio::test]
async fn each_example_runs_in_process() {
    for name in IN_PROCESS {
        run(name, &[], None).await;
    }
}

#[tokio::test]
async fn each_example_runs_over_redis() {
    // Of their own: they have names for their caches that other tests may have, too.
    let server = redis::Server::start(&redis::Options::default());
    for name in IN_PROCESS.into_iter().chain([WITH_REDIS]) {
        run(name, &[], Some(&server.url())).await;
    }
}

#[tokio::test]
async fn the_example_of_a_watch_runs_over_mongodb_and_redis() {
    let server = redis::Server::start(&redis::Options::default());
    let database = mongo::shared().url(&mongo::database_name());
    run(WITH_MONGODB, &[database, server.url()], None).await;
}

#[test]
fn no_example_is_left_out() {
    let files = Path::new(SOURCES).read_dir().expect("there are examples");
    let there: BTreeSet<String> = files
        .map(|file| file.expect("the folder can be read").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    let run = IN_PROCESS.into_iter().chain([WITH_REDIS, WITH_MONGODB]).map(str::to_owned).collect();
    assert_eq!(there, run);
}
