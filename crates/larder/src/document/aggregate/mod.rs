//! Aggregations in process, for the database that has none: the stages and operators that a named pipeline may use, read
//! strictly and run as MongoDB runs them.
//!
//! Reading is the allow-list for both databases: what is not understood here is refused when the pipeline is declared.

mod accumulate;
mod arithmetic;
mod evaluate;
mod expression;
mod group;
mod held;
mod project;
mod query;
mod run;
mod stage;

#[cfg(test)]
pub(crate) use self::held::MAX_HELD_BYTES;
pub(crate) use self::{
    held::Held,
    run::{Flow, Run},
    stage::{Stage, count_of, read_stages},
};

use crate::{Error, ErrorKind};

/// How deep expressions and filters may be nested.
const MAX_EXPRESSION_DEPTH: u32 = 16;

fn config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message.into())
}

/// An expression that cannot be computed on a document that came, such as a division by zero.
fn not_computable(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests;
