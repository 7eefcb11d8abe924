//! `larder import`: documents from a file, typed by the declared fields of their collection.

mod array;
mod columns;
mod format;
mod lines;
mod record;
mod table;
