//! What must hold of paths, query strings, headers and bodies.

mod address;
mod bodies;
mod headers;

pub use self::{
    address::{query_string, target},
    bodies::{elements, purge, writable},
    headers::{authorization, content_type, headers, host},
};
