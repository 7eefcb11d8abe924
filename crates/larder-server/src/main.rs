//! The `larder` binary.
#[expect(dead_code, reason = "the server that shows it is not here yet")]
mod dashboard;
#[allow(dead_code, unused_imports, clippy::allow_attributes, reason = "the command that calls it is not here yet")]
mod import;
#[expect(dead_code, reason = "the command that calls it is not here yet")]
mod load;
#[allow(dead_code, unused_imports, clippy::allow_attributes, reason = "the server that loads it is not here yet")]
mod sample;
fn main() {}
