//! The `larder` binary. All of it is in the library beside it, but for the allocator, which a sanitizer must be able to replace.

use std::process::ExitCode;

/// Requests allocate many small things on all threads; the system's allocator takes a tenth of a cached read.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    larder_server::run().await
}
