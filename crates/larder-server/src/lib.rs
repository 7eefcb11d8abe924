//! The insides of the `larder` binary: the data API over declared collections, the doctor, and the tools around the library.
//!
//! This is a library only so that its readers of foreign input can be fuzzed; its one door is [`run`], and nothing else is
//! for use by others. What a Rust program needs is in the crate `larder`.

mod app;
mod auth;
mod claim;
mod cli;
mod commands;
mod config;
mod dashboard;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod indexes;
mod jwt;
mod load;
mod logging;
mod members;
mod position;
mod purge;
mod resource;
mod routes;
mod rows;
mod sample;
mod serve;
mod taken;
mod telemetry;
mod watching;
mod workers;

use std::process::ExitCode;

/// Reads the command line, carries the command out, and answers with the code that the process ends with.
///
/// To be called once in a process, from within a Tokio runtime: it sets up logging, and a wrong command line ends the
/// process at once.
pub async fn run() -> ExitCode {
    let cli = cli::Cli::read();
    // A command says itself what it found.
    let is_server = matches!(cli.command, None | Some(cli::Command::Serve(_)));
    let _log = logging::begin(if is_server { "info" } else { "error" });
    commands::run(cli).await
}
