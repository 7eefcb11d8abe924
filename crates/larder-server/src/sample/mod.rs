//! The sample shop: a pantry and kitchen shop that does not exist, so that a first start has something to show.
//!
//! [`collections`] declares it, [`load()`] fills it. Every document is a function of the seed and its own number. Nothing is kept in memory but one number per product.

mod dice;
mod load;
mod marker;
mod product;
mod review;
mod schema;
mod shop;
mod time;
mod user;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    load::load,
    schema::{collections, tags_of},
};
