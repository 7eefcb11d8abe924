//! What every handle is: cheap to clone, and good for any thread, whatever is behind it.

use larder::{
    Cache, FakeClock,
    document::{Collection, Database, Watch},
    redis::Redis,
};

/// Compiles for a handle only.
fn is_a_handle<T: Clone + Send + Sync + 'static>() -> usize {
    size_of::<T>()
}

#[test]
fn handles_are_pointers_that_any_thread_may_have() {
    let sizes = [
        is_a_handle::<Cache<String, Vec<u8>>>(),
        is_a_handle::<Collection>(),
        is_a_handle::<Database>(),
        is_a_handle::<Watch>(),
        is_a_handle::<Redis>(),
        is_a_handle::<FakeClock>(),
    ];
    assert!(sizes.iter().all(|size| *size <= 64), "{sizes:?}");
}
