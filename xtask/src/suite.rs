//! The whole check: format, lints, documentation, tests, and a last word on what ran against which server.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{cargo, root, run, servers};

/// How many histories the simulation of the cache looks at in a run of everything.
const SEEDS: &str = "2000";

/// Runs everything, or with a filter only the tests whose name contains it.
pub(crate) fn test(filter: Option<&str>) -> Result<(), String> {
    let began = Instant::now();
    if filter.is_none() {
        // Before anything that takes long.
        add_tools();
        require_tools(has)?;
    }
    println!("== servers");
    let servers = servers::ensure(&servers::for_tests())?;
    servers.iter().for_each(|line| println!("{line}"));
    if filter.is_none() {
        lint()?;
    }
    let report = env::temp_dir().join(format!("larder-test-report-{}", std::process::id()));
    let mut command = cargo(&root());
    command.args(["test", "--workspace", "--no-fail-fast"]).args(filter).env("LARDER_TEST_REPORT", &report);
    if filter.is_none() && env::var_os("LARDER_TEST_SEEDS").is_none() {
        command.env("LARDER_TEST_SEEDS", SEEDS);
    }
    let totals = count(&mut command);
    println!("\n== ran against");
    servers.iter().for_each(|line| println!("{line}"));
    for (line, times) in lines_of(&fs::read_to_string(&report).unwrap_or_default()) {
        println!("{line} ({times}x)");
    }
    let _ = fs::remove_file(&report);
    let (passed, failed, ignored) = totals?;
    println!("\n== the whole run, {ignored} ignored, in {} s", began.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    match (passed, failed, ignored) {
        (1.., 0, 0) => Ok(()),
        (0, 0, 0) => Err("no test ran".to_owned()),
        _ => Err("a test failed, or was ignored: neither is allowed".to_owned()),
    }
}

/// The compiler alone may not bring what checks format and lints; rustup does, if it is there.
fn add_tools() {
    if !has("fmt") || !has("clippy") {
        // What it could not add is named afterwards.
        let _ = Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]).status();
    }
}

/// Whether format and lints can be checked. A run without them would pass as a whole one.
fn require_tools(has: impl Fn(&str) -> bool) -> Result<(), String> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| !has(subcommand))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(format!(
        "{missing}: not installed; run `rustup component add {missing}`, or give a FILTER to run tests alone"
    ))
}

fn lint() -> Result<(), String> {
    run("format", cargo(&root()).args(["fmt", "--all", "--check"]))?;
    let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run("lints", cargo(&root()).args(arguments))?;
    for features in ["", "mongo", "sqlite"] {
        let arguments =
            ["clippy", "--quiet", "-p", "larder", "--no-default-features", "--features", features];
        let what = format!(
            "lints of the library with {}",
            if features.is_empty() { "no features" } else { features }
        );
        run(&what, cargo(&root()).args(arguments).args(["--", "-D", "warnings"]))?;
    }
    // A workspace of its own, which no test builds.
    run("benchmarks", cargo(&root().join("bench")).args(["check", "--quiet", "--all-targets"]))?;
    // Another one. As a fuzzer would build them, but for the library in C++ that drives them.
    let mut targets = cargo(&root().join("fuzz"));
    targets.args(["check", "--quiet", "--bins", "--no-default-features", "--target-dir", "target"]);
    run("fuzz targets", targets.env("RUSTFLAGS", "--cfg fuzzing"))?;
    let mut doc = cargo(&root());
    run(
        "documentation",
        doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn has(subcommand: &str) -> bool {
    let output = cargo(&root()).args([subcommand, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs the tests, passes their output on, and adds up `test result: ok. 3 passed; 0 failed; 0 ignored`.
fn count(command: &mut Command) -> Result<(u32, u32, u32), String> {
    println!("\n== tests");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cargo test: {error}"))?;
    let output = child.stdout.take().expect("the output was just piped");
    let mut totals = [0, 0, 0];
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            let numbers = result.split(' ').filter_map(|word| word.parse::<u32>().ok());
            totals.iter_mut().zip(numbers).for_each(|(total, number)| *total += number);
        }
    }
    let status = child.wait().map_err(|error| format!("cargo test: {error}"))?;
    match totals {
        [passed, 0, ignored] if !status.success() => {
            Err(format!("cargo test: {status}, after {passed} passed and {ignored} ignored"))
        }
        [passed, failed, ignored] => Ok((passed, failed, ignored)),
    }
}

/// The test kit appends a line to the report for each server it starts or meets.
fn lines_of(report: &str) -> BTreeMap<&str, u32> {
    let mut times = BTreeMap::new();
    report.lines().for_each(|line| *times.entry(line).or_default() += 1);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_not_installed_is_named_with_the_command_that_installs_it() {
        assert_eq!(require_tools(|_| true), Ok(()));
        let without = |missing: &'static str| require_tools(move |tool| tool != missing).unwrap_err();
        assert!(without("fmt").contains("`rustup component add rustfmt`"), "{}", without("fmt"));
        assert!(without("clippy").contains("`rustup component add clippy`"), "{}", without("clippy"));
        assert!(require_tools(|_| false).unwrap_err().contains("`rustup component add rustfmt clippy`"));
    }
}
