//! A MongoDB for the tests.
//!
//! In this order: the server that `LARDER_TEST_MONGO` names; a `mongod` on the `PATH`, started as a one-node replica set in
//! a temporary folder; else the stand-in, a Java server that speaks MongoDB's wire protocol and keeps a change feed in
//! the form of MongoDB's manual. Tests ask what a server can do, never which one it is; every run says which one it had.

mod mongod;
mod server;
mod stand_in;
mod wire;

pub use self::server::{Origin, Server};

use std::sync::OnceLock;

use crate::report;

/// The server that the tests of this process share. Each test uses a database of its own; see [`database_name`].
///
/// # Panics
/// If no MongoDB can be had, naming the command that helps.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::given_or_started)
}

/// Notes that a test could not look at something because the server lacks it. The run's last lines repeat and count it, so
/// that nothing is passed over in silence.
pub fn not_run(what: &str) {
    report::say(&format!("not run on this MongoDB: {what}"));
}

/// Notes what a test learned about the server, for the run's last lines.
pub fn note(what: &str) {
    report::say(&format!("MongoDB of these tests: {what}"));
}

/// A database name that no other test and no other run uses.
pub fn database_name() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // An object id holds the second, a random number of this process and a counter.
    format!("larder_test_{}_{count}", bson::oid::ObjectId::new())
}
