//! What must hold of the bytes and replies that the cache reads back from Redis, and of the tokens and patterns that clients hand in.

mod shared;
mod stored;
mod texts;

pub use self::{
    shared::{behind_reply, script_reply},
    stored::{dead_letter, entry, log_event},
    texts::{glob, tenant_key, token},
};
