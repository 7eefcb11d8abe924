//! Rules that no compiler checks. Each test is one rule and names every place that breaks it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Tasks outlive the call that starts them, so each file that starts one is listed with the task's owner.
const SPAWNERS: [(&str, &str); 11] = [
    ("crates/larder-server/src/routes/aside.rs", "the request: its work is aborted with it"),
    ("crates/larder/src/cache/builder/ties.rs", "the cache: its follower and workers are aborted with it"),
    ("crates/larder/src/cache/audit/mod.rs", "the audit: it ends when its handle is dropped"),
    (
        "crates/larder/src/redis/link.rs",
        "the link: its supervisor is aborted when the last handle is dropped",
    ),
    ("crates/larder/src/redis/cluster/mod.rs", "the cluster: its refresher is aborted with the last handle"),
    (
        "crates/larder/src/redis/push.rs",
        "the subscriber: what follows its channels is aborted when it is dropped",
    ),
    (
        "crates/larder/src/redis/wire.rs",
        "the connection: what moves its bytes is aborted when its last clone is dropped",
    ),
    (
        "crates/larder/src/document/watch/handle.rs",
        "the watch: its watchers are aborted with the last handle",
    ),
    ("crates/larder-server/src/jwt/refresh.rs", "the gate's tokens: the refresher is aborted with them"),
    ("crates/larder-server/src/logging.rs", "the program: what counts its lines is aborted with it"),
    ("crates/larder-server/src/commands/serve.rs", "the command: its sampler is aborted when serving ends"),
];
const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 60;
const MOST_FEATURES: usize = 6;

#[test]
fn only_the_files_of_a_backend_import_its_driver() {
    check(|file| {
        let name = file.path.rsplit('/').next()?;
        let product = file.is("rs") && file.path.starts_with("crates/larder") && file.path.contains("/src/");
        if !product || file.path.starts_with("crates/larder-testkit/") {
            return None;
        }
        let allowed = |driver: &str| match driver {
            "redis" => matches!(name, "redis.rs" | "shared.rs") || file.path.contains("/src/redis/"),
            "mongodb" => name == "mongo.rs" || file.path.contains("/mongo/"),
            _ => name == "sqlite.rs" || file.path.contains("/sqlite/"),
        };
        ["redis", "mongodb", "rusqlite"].into_iter().filter(|driver| !allowed(driver)).find_map(|driver| {
            file.line(|line| imports(line, driver))
                .map(|line| format!("{line}: imports the driver `{driver}`"))
        })
    });
}

#[test]
fn the_page_of_a_capability_does_no_io() {
    const IO: [&str; 7] =
        ["std::fs", "std::net", "tokio::fs", "tokio::net", "tokio::spawn", "::redis::", "mongodb::"];
    check(|file| {
        let page = file.path.starts_with("crates/larder/src/") && file.path.ends_with("/mod.rs");
        if !page || file.path.starts_with("crates/larder/src/redis/") {
            return None;
        }
        let line =
            file.line(|line| IO.iter().any(|word| line.contains(word) && !line.contains("crate::redis")))?;
        Some(format!("{line}: input or output in a capability's page"))
    });
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    check(|file| match file.path.as_str() {
        "Cargo.toml" if !file.text.contains("unsafe_code = \"forbid\"") => {
            Some("does not forbid unsafe code".into())
        }
        path if !path.ends_with("/Cargo.toml") || path.starts_with("bench/") || path.starts_with("fuzz/") => {
            None
        }
        _ if !file.text.contains("[lints]\nworkspace = true") => {
            Some("does not take the workspace's lints".into())
        }
        _ => None,
    });
}

#[test]
fn every_script_has_its_header() {
    check(|file| {
        if !file.is("lua") {
            return None;
        }
        let lines = file.text.lines().skip_while(|line| line.starts_with("#!"));
        let header: String = lines.take_while(|line| line.starts_with("--")).collect();
        let missing = |word: &&str| !header.to_lowercase().contains(word);
        let word = ["keys", "argv", "returns", "cost", "clock"].into_iter().find(missing)?;
        Some(format!("the header does not state `{word}`"))
    });
}

#[test]
fn every_source_file_says_what_it_is_for() {
    check(|file| {
        (file.is("rs") && !file.text.starts_with("//!") && !file.text.is_empty())
            .then(|| "does not begin with `//!`".into())
    });
}

#[test]
fn no_test_sleeps() {
    check(|file| {
        if !file.is("rs") || file.path.starts_with("bench/") {
            return None;
        }
        let tests = file.tests_begin()?;
        let at = file.text.lines().skip(tests).position(|line| code(line).contains(concat!("sleep", "(")))?;
        Some(format!("{}: wait for a condition with a deadline, or drive a clock", tests + at + 1))
    });
}

#[test]
fn no_file_holds_more_than_one_idea() {
    check(|file| {
        let lines = file.text.lines().count();
        let long =
            ["rs", "lua", "java", "js", "css"].iter().any(|kind| file.is(kind)) && lines > LONGEST_FILE;
        long.then(|| format!("{lines} lines: what is the second idea?"))
    });
    let xtask = files()
        .iter()
        .filter(|file| file.path.starts_with("xtask/src/"))
        .map(|file| file.text.lines().count())
        .sum::<usize>();
    assert!(xtask <= 400, "xtask has {xtask} lines: plain cargo commands need none");
}

#[test]
fn a_function_fits_on_a_screen() {
    check(|file| {
        let ours = ["crates/", "xtask/", "bench/"].iter().any(|folder| file.path.starts_with(folder));
        if !file.is("rs") || !ours || !file.path.contains("/src/") || file.tests_begin() == Some(0) {
            return None;
        }
        let is_long = |function: &Function<'_>| function.lines > LONGEST_FUNCTION;
        let Function { name, at, lines } = functions(&file.text).into_iter().find(is_long)?;
        Some(format!("{at}: `{name}` has {lines} lines, {LONGEST_FUNCTION} fit: what is the second idea?"))
    });
}

#[test]
fn nothing_names_a_machine_a_registry_or_a_ticket() {
    // Put together here, so that this file does not break its own rule.
    let words = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["crates", ".io"],
        ["npmjs", ".org"],
        ["npmjs", ".com"],
        ["pypi", ".org"],
        ["repo.maven", ".apache"],
        ["repo1", ".maven"],
        ["yarnpkg", ".com"],
    ]
    .map(|halves| halves.concat());
    check(|file| {
        let line = file.line_of_text(|line| {
            words.iter().any(|word| line.contains(word.as_str()))
                || (!file.is("css") && !file.is("js") && names_a_ticket(line))
        })?;
        Some(format!("{line}: a path of one machine, a registry's address or a ticket's number"))
    });
}

#[test]
fn benchmarks_and_fuzz_targets_keep_their_dependencies_to_themselves() {
    for name in ["bench", "fuzz"].into_iter().filter(|name| root().join(name).exists()) {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.lines().any(|line| line == "[workspace]"), "{name}/ is not its own workspace");
        assert!(root().join(name).join("Cargo.lock").exists(), "{name}/ has no lock file of its own");
    }
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    check(|file| {
        if !file.is("md") {
            return None;
        }
        let folder = root().join(&file.path).parent()?.to_owned();
        let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let broken = targets.filter(|target| {
            !target.contains("://") && !target.starts_with(['#', '/']) && !target.starts_with("mailto:")
        });
        let mut broken =
            broken.filter(|target| !folder.join(target.split('#').next().unwrap_or(target)).exists());
        broken.next().map(|target| format!("the link to {target} is broken"))
    });
}

#[test]
fn a_task_is_started_only_where_its_owner_is_known() {
    check(|file| {
        let product = file.is("rs") && file.path.contains("/src/") && file.path.starts_with("crates/larder");
        if !product || SPAWNERS.iter().any(|(path, _)| *path == file.path) {
            return None;
        }
        let tests = file.tests_begin().unwrap_or(usize::MAX);
        // A tracker or a set owns what it is given.
        let loose = ["tokio::spawn(", "task::spawn(", "runtime.spawn(", "runtime()?.spawn(", "handle.spawn("];
        let starts = |line: &str| loose.iter().any(|start| code(line).contains(start));
        let at = file.text.lines().take(tests).position(starts)?;
        Some(format!("{}: starts a task; add the file and the task's owner to SPAWNERS", at + 1))
    });
    for (path, _) in SPAWNERS {
        assert!(root().join(path).exists(), "{path} is listed in SPAWNERS and does not exist");
    }
}

#[test]
fn every_channel_is_bounded() {
    check(|file| {
        let product = file.is("rs") && file.path.contains("/src/") && file.path.starts_with("crates/larder");
        let unbounded = ["unbounded_channel", "UnboundedSender", "std::sync::mpsc", "flume::unbounded"];
        let line = file.line(|line| unbounded.iter().any(|word| line.contains(word)))?;
        (product && line <= file.tests_begin().unwrap_or(usize::MAX))
            .then(|| format!("{line}: a channel without a bound"))
    });
}

#[test]
fn keys_are_built_in_one_place() {
    check(|file| {
        let library = file.is("rs") && file.path.starts_with("crates/larder/src/");
        if !library || file.path.ends_with("/redis/key.rs") {
            return None;
        }
        // The braces of a hash tag, as `format!` has them.
        let line =
            file.line(|line| line.contains(concat!("{{", "{")) || line.contains(concat!("}", "}}:")))?;
        Some(format!("{line}: builds a key; `redis/key.rs` does"))
    });
}

#[test]
fn a_script_touches_only_the_keys_that_it_is_given() {
    check(|file| {
        if !file.is("lua") {
            return None;
        }
        let line = file.line_of_text(|line| names_a_key(line.split("--").next().unwrap_or_default()))?;
        Some(format!("{line}: a key that is not among KEYS"))
    });
}

#[test]
fn the_library_knows_no_configuration_file() {
    check(|file| {
        if file.path == "crates/larder/Cargo.toml" {
            let reads = |line: &str| ["toml", "config", "clap"].iter().any(|name| line.starts_with(name));
            return file.line(reads).map(|line| format!("{line}: settings come from the caller"));
        }
        let library = file.is("rs") && file.path.starts_with("crates/larder/src/");
        let tests = ["/model/", "/simulation/", "/tests/"].iter().any(|part| file.path.contains(part));
        let line = file.line(|line| line.contains("env::var"))?;
        (library && !tests).then(|| format!("{line}: settings come from the caller"))
    });
}

#[test]
fn a_feature_gates_a_dependency_and_there_are_few() {
    let manifest = fs::read_to_string(root().join("crates/larder/Cargo.toml")).expect("a manifest");
    let features = manifest.split("[features]\n").nth(1).unwrap_or_default();
    let named =
        |line: &&str| line.contains('=') && !line.starts_with("default") && !line.starts_with([' ', '#']);
    let count = features.lines().take_while(|line| !line.starts_with('[')).filter(named).count();
    assert!(count <= MOST_FEATURES, "{count} features");
}

#[test]
fn the_server_sees_only_the_library() {
    check(|file| {
        let driver = ["redis", "mongodb", "rusqlite"].into_iter().find(|name| {
            let normal = file.text.split("[dev-dependencies]").next().unwrap_or_default();
            file.path == "crates/larder-server/Cargo.toml"
                && normal.lines().any(|line| line.starts_with(name))
        })?;
        Some(format!("depends on the driver `{driver}`"))
    });
}

struct File {
    path: String,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The number of the first line of code that is wanted; comments do not count.
    fn line(&self, wanted: impl Fn(&str) -> bool) -> Option<usize> {
        self.line_of_text(|line| wanted(code(line)))
    }

    /// The line from which on everything is a test.
    fn tests_begin(&self) -> Option<usize> {
        if self.path.contains("/tests/") || self.path.ends_with("/tests.rs") {
            return Some(0);
        }
        self.text.lines().position(|line| line.trim() == "#[cfg(test)]")
    }

    fn line_of_text(&self, wanted: impl Fn(&str) -> bool) -> Option<usize> {
        self.text.lines().position(wanted).map(|at| at + 1)
    }
}

fn check(rule: impl Fn(&File) -> Option<String>) {
    let broken: Vec<String> =
        files().iter().filter_map(|file| Some(format!("{}: {}", file.path, rule(file)?))).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).expect("xtask lies in the root").to_owned()
}

/// Every text file of ours, with its path from the root; lock files and measured data are not ours.
fn files() -> Vec<File> {
    const KINDS: [&str; 12] =
        ["rs", "lua", "md", "toml", "java", "xml", "js", "css", "html", "json", "yaml", "yml"];
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let generated =
                ["target", "node_modules", "larder-data", "corpus", "artifacts"].contains(&name.as_str());
            if path.is_dir() && !generated && (!name.starts_with('.') || name == ".ci") {
                folders.push(path);
            } else if path.is_file() && KINDS.iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push(File { path, text });
            }
        }
    }
    assert!(found.len() > 10, "the rules saw hardly any file");
    found
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[derive(Debug, PartialEq)]
struct Function<'a> {
    name: &'a str,
    /// The number of the line that names it.
    at: usize,
    /// From that line to the closing brace.
    lines: usize,
}

/// The functions of a file that rustfmt has laid out: each ends with the first line that stands as far right as it begins and
/// closes a body, or a signature without one.
fn functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let function = |at: usize| {
        let line = lines[at];
        let (before, after) = line.split_once("fn ")?;
        let name = after.split(['(', '<']).next().filter(|name| *name != after)?;
        // Nothing but `pub(crate) async` and the like: no comment, no text, no type.
        let begins = before.chars().all(|each| each.is_alphanumeric() || " ():_".contains(each));
        let indentation = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indentation).filter(|rest| !rest.starts_with(' '));
            rest.is_some_and(|rest| rest.ends_with(['}', ';']))
        };
        let lines = lines[at..].iter().position(ends)? + 1;
        begins.then_some(Function { name, at: at + 1, lines })
    };
    (0..lines.len()).filter_map(function).collect()
}

/// Whether the line names the driver: `::redis::` always does, `redis::` at the start of a `use` does.
fn imports(line: &str, driver: &str) -> bool {
    let own = |at: usize| {
        line[..at]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || "_)>".contains(before))
    };
    let rooted = format!("::{driver}");
    line.match_indices(&rooted).any(|(at, _)| {
        !own(at) && !line[at + rooted.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    }) || line.trim_start().starts_with(&format!("use {driver}::"))
}

/// Whether a line of a script calls a command with a literal where its first key stands.
fn names_a_key(line: &str) -> bool {
    const WITHOUT_KEY: [&str; 3] = ["INFO", "XINFO", "TIME"];
    line.match_indices("call('").any(|(at, start)| {
        let mut words = line[at + start.len()..].splitn(2, "', ");
        let command = words.next().unwrap_or_default();
        words.next().is_some_and(|rest| rest.starts_with('\'')) && !WITHOUT_KEY.contains(&command)
    })
}

/// `issue` or `#` before a number: the history of the work belongs in the history. A colour has more digits.
fn names_a_ticket(line: &str) -> bool {
    let numbered = |at: usize| {
        let digits = line[at..].chars().take_while(char::is_ascii_digit).count();
        (1..=2).contains(&digits) && !line[at + digits..].starts_with(|next: char| next.is_alphanumeric())
    };
    let marked = |mark: &str| line.match_indices(mark).any(|(at, _)| numbered(at + mark.len()));
    marked("issue ") || marked(" #") || marked("(#")
}

#[test]
fn a_rule_sees_what_it_forbids_and_nothing_else() {
    for (line, seen) in [
        ("use ::redis::Cmd;", true),
        ("use redis::Cmd;", true),
        ("    let reply: ::redis::Value = x;", true),
        ("use crate::redis::Redis;", false),
        ("use crate::{redis::Redis, cache};", false),
        ("use ::redis_test::X;", false),
    ] {
        assert_eq!(imports(line, "redis"), seen, "{line}");
    }
    for (line, seen) in [
        ("redis.call('GET', KEYS[1])", false),
        ("redis.pcall('GET', 'a key')", true),
        ("redis.call('INFO', 'replication')", false),
        ("call('XADD', log_key, 'MAXLEN')", false),
    ] {
        assert_eq!(names_a_key(line), seen, "{line}");
    }
    for (line, seen) in [
        (concat!("as issue ", "3 says"), true),
        (concat!("mended (", "#7)"), true),
        ("color: #333333", false),
        ("r#\"", false),
        ("#1 of", false),
    ] {
        assert_eq!(names_a_ticket(line), seen, "{line}");
    }
}

#[test]
fn a_function_is_as_long_as_rustfmt_lays_it_out() {
    let text = "\
/// Not a fn here(
fn short() {}

pub(crate) async fn long<T>(
    a: T,
) -> u8
where
    T: Fn(u8) -> u8,
{
    if a {
    }
}

impl A {
    fn declared(
        &self,
    ) -> u8;

    const fn inner(&self) {
        fn nested() {
            1;
        }
        2
    }
}
";
    let found: Vec<_> = functions(text).iter().map(|each| (each.name, each.at, each.lines)).collect();
    assert_eq!(
        found,
        [("short", 2, 1), ("long", 4, 9), ("declared", 15, 3), ("inner", 19, 6), ("nested", 20, 3)]
    );
}
