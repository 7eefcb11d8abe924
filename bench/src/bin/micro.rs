//! A near hit in process against a bare `quick_cache` get of an `Arc`, and the allocations of a hit.
//!
//! usage: `micro quick|full …`; prints `part,name,value,unit` lines.

use std::{convert::identity, env, error::Error, sync::Arc};

use larder::Cache;
use larder_bench::{
    counting::Counting,
    hit::{nanoseconds, now},
    report::median,
};

#[global_allocator]
static MEMORY: Counting = Counting::new();

const KEYS: u64 = 1_000;
type Value = [u8; 1_024];

fn main() -> Result<(), Box<dyn Error>> {
    // Many short turns, of a few milliseconds: a neighbour on the processor slows whole seconds.
    let rounds = if env::args().nth(1).as_deref() == Some("full") { 500 } else { 50 };
    let reads = 200_000;
    measure("u64 keys", identity, rounds, reads)?;
    measure("string keys", |key| format!("product:{key:08}"), rounds, reads)
}

fn measure<K>(what: &str, key: fn(u64) -> K, rounds: usize, reads: usize) -> Result<(), Box<dyn Error>>
where
    K: std::hash::Hash + Eq + Clone + std::fmt::Display + Send + Sync + 'static,
{
    let bare: quick_cache::sync::Cache<K, Arc<Value>> = quick_cache::sync::Cache::new(10_000);
    let cache: Cache<K, Vec<u8>> = Cache::builder(what.replace(' ', "-")).near_capacity(10_000).build()?;
    let keys: Vec<K> = (0..KEYS).map(key).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for key in &keys {
        bare.insert(key.clone(), Arc::new([7; 1_024]));
        runtime.block_on(cache.get_with(key, async || Ok(Some(vec![7; 1_024]))))?;
    }
    let hit_bare = |at: usize| bare.get(&keys[at]).is_some();
    let hit_near = |at: usize| matches!(now(cache.get(&keys[at])), Ok(Some(_)));
    for threads in [1, 2] {
        // In turn, so that a slow moment of the machine falls on both.
        let (mut bare_ns, mut near_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let one = [
                nanoseconds(threads, reads, KEYS as usize, &hit_bare),
                nanoseconds(threads, reads, KEYS as usize, &hit_near),
            ];
            bare_ns.push(one[0]);
            near_ns.push(one[1]);
            ratios.push(one[1] / one[0]);
        }
        println!("micro,bare quick_cache get: {what}: {threads} threads,{},ns", median(bare_ns));
        println!("micro,near hit: {what}: {threads} threads,{},ns", median(near_ns));
        println!("micro,ratio: {what}: {threads} threads (target ≤ 1.5),{},times", median(ratios));
    }
    let before = MEMORY.calls();
    (0..1_000).for_each(|at| assert!(hit_near(at)));
    println!("micro,allocations in 1000 near hits: {what} (target 0),{},", MEMORY.calls() - before);
    Ok(())
}
