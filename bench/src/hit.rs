//! Timing what takes nanoseconds: reads that never wait, on several threads, by their own processor time.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
};

use rustix::time::{ClockId, clock_gettime};

use crate::report::median;

/// Nanoseconds of processor time for one read of `keys` keys, with that many threads reading at once.
///
/// # Panics
/// If a read is no hit.
pub fn nanoseconds(threads: usize, reads: usize, keys: usize, hit: &(impl Fn(usize) -> bool + Sync)) -> f64 {
    let start = Barrier::new(threads);
    let one = |thread: usize| {
        start.wait();
        let began = own_cpu_ns();
        let mut at = thread * 7;
        for _ in 0..reads {
            at = (at + 37) % keys;
            assert!(black_box(hit(black_box(at))));
        }
        (own_cpu_ns() - began) / reads as f64
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        median(running.into_iter().map(|thread| thread.join().expect("a reading thread does not panic")))
    })
}

/// Processor time of this thread, so that other programs on the machine do not count. By a clock that runs on between two
/// ticks of the kernel: a turn may be shorter than one.
fn own_cpu_ns() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 * 1e9 + spent.tv_nsec as f64
}

/// The output of a future that never has to wait, as a near hit.
///
/// Always inlined, so that the future is polled where it was made, as `.await` does; moving it would be measured too.
///
/// # Panics
/// If it waits.
#[inline(always)]
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a near hit waited"),
    }
}
