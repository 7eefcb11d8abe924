//! The `larder` binary: the data API over declared collections, the doctor, and the tools around the library.

mod app;
mod auth;
mod claim;
mod cli;
mod commands;
mod config;
mod dashboard;
mod import;
mod load;
mod resource;
mod routes;
mod sample;
mod serve;
mod telemetry;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Requests allocate many small things on all threads; the system's allocator takes a tenth of a cached read.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    commands::run(cli).await
}
