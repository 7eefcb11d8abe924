//! The same load in JavaScript over a helper with two tiers, in a process of its own.

use std::{process::Command, time::Duration};

use tokio::task::spawn_blocking;

use super::{Failure, outcome::Outcome};
use crate::contender::peers;

/// What it is called in the tables.
pub const NAME: &str = "cacheable (Node)";

/// Runs the load on a node for each URL; with that of a MongoDB, its numbers are there, and one other program writes them.
///
/// # Errors
/// When the program fails.
pub async fn judge(
    redis: &[String],
    lasts: Duration,
    ttl: Duration,
    mongo: Option<&str>,
    meanwhile: impl Future<Output = ()>,
) -> Result<Outcome, Failure> {
    let [lasts, ttl] = [lasts, ttl].map(|time| time.as_millis().to_string());
    let mut command = Command::new("node");
    command.current_dir(peers()).args(["staleness.js", &redis.join(","), &lasts, &ttl]).args(mongo);
    let mut running = spawn_blocking(move || command.output());
    let output = tokio::select! {
        output = &mut running => output,
        () = meanwhile => running.await,
    }??;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Outcome::parse(&said).ok_or_else(|| format!("staleness.js says {said}").into())
}
