//! One contract per capability, each over every backend it has.

mod redis;
