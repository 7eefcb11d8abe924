//! What the benchmarks share: servers in processes of their own, a closed-loop client, and the tables.
//!
//! Every figure is a ratio between contenders that were measured in turn, in one run, on one machine.

pub mod contender;
pub mod counting;
pub mod documents;
pub mod hit;
pub mod modes;
pub mod patterns;
pub mod process;
pub mod report;
pub mod rounds;
pub mod staleness;
pub mod zipf;
