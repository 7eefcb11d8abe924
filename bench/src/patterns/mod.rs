//! What the benchmark of the patterns is made of.

pub mod database;
pub mod node;
pub mod report;
pub mod traffic;
