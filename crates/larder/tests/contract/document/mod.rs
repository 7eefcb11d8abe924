//! What collections promise, on every database: the same answers, of the same types, in the same order.

mod aggregates;
mod backend;
mod finds;
mod inserts;
mod lists;
mod partials;
mod tags;
mod through;
mod types;
mod within;
mod world;
mod writes;
