//! Writes that go past Larder, straight to the database, and what cached reads see of them.

mod away;
mod changes;
mod faults;
mod leader;
mod listen;
mod moves;
pub(crate) mod place;
mod poll;
pub(crate) mod process;
