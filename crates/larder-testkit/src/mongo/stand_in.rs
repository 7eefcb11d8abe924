//! Builds the stand-in for MongoDB once and keeps it: mongo-java-server with a change feed of our own in front.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

/// What mends a missing MongoDB.
pub(super) const REMEDY: &str = "The tests need a MongoDB; the stand-in needs Java 17 and, once, Maven. Either run\n    \
    apt-get install --yes openjdk-17-jdk-headless maven\nor put `mongod` on the PATH, or name a server:\n    \
    LARDER_TEST_MONGO=mongodb://HOST:PORT";

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mongo-server");

/// The arguments of `java` that start the stand-in on a port, with its data in `file`.
///
/// Builds it first if its sources changed: once, however many test processes ask at the same time. Later runs need no
/// network.
///
/// # Panics
/// If Java or Maven is missing or the build fails, naming the command that helps.
pub(super) fn arguments(port: u16, file: &Path) -> Vec<String> {
    let built = build();
    let class_path = format!("{}:{}/*", built.join("classes").display(), built.join("lib").display());
    let flags = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx1500m", "-cp"];
    let program =
        [class_path, "larder.testkit.Main".to_owned(), port.to_string(), file.display().to_string()];
    flags.map(str::to_owned).into_iter().chain(program).collect()
}

fn build() -> PathBuf {
    require("java", "-version");
    let home = kit_folder();
    let built = home.join(format!("mongo-server-{:016x}", hash_of(Path::new(SOURCES))));
    let lock = File::create(home.join("mongo-server.lock")).expect("the target folder can be written to");
    lock.lock().expect("file locks work here");
    if !built.exists() {
        require("mvn", "-version");
        let unfinished = built.with_extension("unfinished");
        run_maven(&unfinished);
        fs::rename(&unfinished, &built).expect("both are in one folder");
    }
    built
}

fn run_maven(folder: &Path) {
    let output = Command::new("mvn")
        .current_dir(SOURCES)
        .args(["--quiet", "--batch-mode"])
        .arg(format!("-Dfolder={}", folder.display()))
        .arg(format!("-DoutputDirectory={}", folder.join("lib").display()))
        .args(["compiler:compile", "dependency:copy-dependencies"])
        .output()
        .expect("mvn ran a moment ago");
    assert!(
        output.status.success(),
        "building the MongoDB stand-in in {SOURCES} failed; it needs Maven Central once:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn require(program: &str, question: &str) {
    let found = Command::new(program).arg(question).output().is_ok_and(|output| output.status.success());
    assert!(found, "{program} is not installed. {REMEDY}");
}

/// Where the test kit keeps what outlives a run.
fn kit_folder() -> PathBuf {
    let target = match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    };
    let folder = target.join("testkit");
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    folder
}

/// A hash of every file of the sources, so that an edit leads to a new build beside the old one.
fn hash_of(folder: &Path) -> u64 {
    let mut files = files_under(folder);
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(folder).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file).expect("the sources can be read").hash(&mut hasher);
    }
    hasher.finish()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the sources can be read");
    let paths = entries.map(|entry| entry.expect("the sources can be read").path());
    paths.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}
