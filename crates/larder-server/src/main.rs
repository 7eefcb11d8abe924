//! The `larder` binary.
#[cfg_attr(not(test), expect(dead_code, reason = "the server that shows it is not here yet"))]
mod dashboard;
#[cfg(test)]
mod import;
#[cfg_attr(not(test), expect(dead_code, reason = "the server that loads the sample shop is not here yet"))]
mod sample;
fn main() {}
