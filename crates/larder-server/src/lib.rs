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

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Reads the command line, carries the command out, and answers with the code that the process ends with.
///
/// To be called once in a process, from within a Tokio runtime: it sets up logging, and a wrong command line ends the
/// process at once.
pub async fn run() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    commands::run(cli).await
}
