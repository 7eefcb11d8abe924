//! The commands that run everything: `cargo xtask test | bench | tidy`.
//!
//! Standard library only, so that it is built in a second on a machine that has nothing but Rust.
#![expect(clippy::print_stdout, reason = "a command's output is its purpose")]

mod servers;
mod suite;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const USAGE: &str = "\
usage: cargo xtask COMMAND
  test           install what the tests need, then check format, lints, documentation and run every test
  test FILTER    run only the tests whose name contains FILTER
  bench          run the benchmarks and write bench/runs/DATE; arguments are passed on (--quick, --only PART)
  tidy           check the rules that no compiler checks";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("test") => suite::test(rest.first().map(String::as_str)),
        Some("bench") => bench(rest),
        Some("tidy") => {
            run("tidy", cargo(&root()).args(["test", "--quiet", "--package", "xtask", "--test", "tidy"]))
        }
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\n{message}");
            ExitCode::FAILURE
        }
    }
}

/// The benchmarks are a workspace of their own, so that no rival enters our lock file.
fn bench(arguments: &[String]) -> Result<(), String> {
    servers::ensure(&[servers::REDIS])?;
    let mut build = cargo(&root());
    run("build the server", build.args(["build", "--release", "--package", "larder-server"]))?;
    let mut harness = cargo(&root().join("bench"));
    run("bench", harness.args(["run", "--release", "--quiet", "--bin", "bench", "--"]).args(arguments))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).expect("xtask lies in the root").to_owned()
}

fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    command
}

fn run(what: &str, command: &mut Command) -> Result<(), String> {
    println!("\n== {what}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
