//! What must hold of change events, and of what a watch keeps in Redis.

mod change;
mod shared;

pub use self::{change::change_event, shared::watch_point};
