//! A near hit with three tags against one without.
//!
//! usage: `tags quick|full …`; prints `part,name,value,unit` lines.

use std::error::Error;

use larder::Cache;
use larder_bench::{
    hit::{nanoseconds, now},
    rounds::{Rounds, is_full},
};

const KEYS: usize = 1_000;
const TAGS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, reads) = if is_full() { (15, 4_000_000) } else { (5, 300_000) };
    let keys: Vec<String> = (0..KEYS).map(|key| format!("product:{key:08}")).collect();
    let (plain, tagged) = (cache("plain", 0, &keys)?, cache("tagged", TAGS, &keys)?);
    let hit_plain = |at: usize| matches!(now(plain.get(&keys[at])), Ok(Some(_)));
    let hit_tagged = |at: usize| matches!(now(tagged.get(&keys[at])), Ok(Some(_)));
    let mut measured = Rounds::new("tags");
    for threads in [1, 2] {
        for _ in 0..rounds {
            // In turn, so that a slow moment of the machine falls on both.
            let plain_ns = nanoseconds(threads, reads, KEYS, &hit_plain);
            let tagged_ns = nanoseconds(threads, reads, KEYS, &hit_tagged);
            measured.note(format!("near hit without tags: {threads} threads"), plain_ns, "ns");
            measured.note(format!("near hit with {TAGS} tags: {threads} threads"), tagged_ns, "ns");
            let ratio = tagged_ns / plain_ns;
            measured.note(format!("tagged ÷ untagged: {threads} threads (target ≤ 2)"), ratio, "times");
        }
    }
    measured.finish();
    Ok(())
}

/// A warm cache in this process whose entries have that many tags, each shared by a few of them.
fn cache(name: &str, tags: usize, keys: &[String]) -> Result<Cache<String, Vec<u8>>, Box<dyn Error>> {
    let builder = Cache::<String, Vec<u8>>::builder(name).near_capacity(10_000);
    let builder = builder.tags(move |key, _| {
        let number: usize = key.rsplit(':').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        (0..tags).map(|tag| format!("{tag}:{}", number % (10 * (tag + 1)))).collect()
    });
    let cache = builder.build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for key in keys {
        runtime.block_on(cache.get_with(key, async || Ok(Some(vec![7; 1_024]))))?;
    }
    // The purge of one tag must be seen, or the tags would not be there.
    if tags > 0 {
        runtime.block_on(cache.invalidate_tag("0:0"))?;
        let again = runtime.block_on(cache.get_with(&keys[0], async || Ok(Some(vec![8; 1_024]))))?;
        assert_eq!(again.as_deref().and_then(|value| value.first()), Some(&8), "the entries have their tags");
        for key in keys {
            runtime.block_on(cache.get_with(key, async || Ok(Some(vec![7; 1_024]))))?;
        }
    }
    Ok(cache)
}
