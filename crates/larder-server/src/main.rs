//! The `larder` binary.
#[cfg_attr(not(test), expect(dead_code, reason = "the server that loads the sample shop is not here yet"))]
mod sample;
fn main() {}
