//! An allocator that counts, for the claims about memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// The system's allocator with two counters. Install it with `#[global_allocator]`.
#[derive(Debug, Default)]
pub struct Counting {
    calls: AtomicU64,
    live_bytes: AtomicI64,
}

impl Counting {
    /// Counters at zero.
    pub const fn new() -> Self {
        Self { calls: AtomicU64::new(0), live_bytes: AtomicI64::new(0) }
    }

    /// Allocations since the start.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Bytes handed out and not yet returned, without the allocator's own rounding.
    pub fn live_bytes(&self) -> i64 {
        self.live_bytes.load(Relaxed)
    }

    fn count(&self, layout: Layout) {
        self.calls.fetch_add(1, Relaxed);
        self.live_bytes.fetch_add(layout.size() as i64, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.live_bytes.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.calls.fetch_add(1, Relaxed);
        self.live_bytes.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }
}
