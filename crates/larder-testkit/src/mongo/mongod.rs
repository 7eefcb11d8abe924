//! Starts a real `mongod` as a replica set of one.

use std::{path::Path, process::Command};

use bson::doc;

use crate::mongo::wire;

/// Whether there is a `mongod` to start.
pub(super) fn is_installed() -> bool {
    Command::new("mongod").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The arguments that start it on a port, with its data in `folder`.
pub(super) fn arguments(port: u16, folder: &Path) -> Vec<String> {
    let port = port.to_string();
    let folder = folder.display().to_string();
    // The setting allows fail points, which the tests of error handling use.
    let arguments =
        ["--bind_ip", "127.0.0.1", "--replSet", "larder", "--setParameter", "enableTestCommands=1"];
    let arguments = arguments.map(str::to_owned).into_iter();
    arguments.chain(["--port".to_owned(), port, "--dbpath".to_owned(), folder]).collect()
}

/// Makes the server a replica set, unless its data says that it is one.
pub(super) fn initiate(port: u16) {
    let members = vec![doc! { "_id": 0, "host": format!("127.0.0.1:{port}") }];
    let answer =
        wire::command(port, "admin", doc! { "replSetInitiate": { "_id": "larder", "members": members } });
    let answer = answer.expect("the server has just answered");
    let already_initialized = matches!(answer.get_i32("code"), Ok(23));
    assert!(wire::is_ok(&answer) || already_initialized, "mongod refused to become a replica set: {answer}");
}
