//! Real servers and real faults for the tests.
//!
//! Servers start once in a test process, on free ports and in temporary folders, and end with the process, however it
//! ends. A server that cannot be had is a panic that names the command which mends it: no test is skipped in silence.

pub mod history;
pub mod mongo;
mod process;
pub mod proxy;
pub mod redis;
mod report;
pub mod seeds;
pub mod tls;
mod wait;

pub use process::signal;
pub use wait::{eventually, lasting};
