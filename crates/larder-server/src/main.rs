//! The `larder` binary.
#[expect(dead_code, reason = "the server that shows it is not here yet")]
mod dashboard;
#[expect(dead_code, reason = "the command that calls it is not here yet")]
mod import;
#[expect(dead_code, reason = "the command that calls it is not here yet")]
mod load;
#[expect(dead_code, unused_imports, reason = "the server that loads the sample shop is not here yet")]
mod sample;
fn main() {}
