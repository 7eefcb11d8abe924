//! Stale reads on three nodes, the same load for Larder and for what people put together by hand: after an acknowledged
//! invalidation, the same with faults on the way to Redis, and after a write to the database of which no cache is told.
//!
//! usage: `staleness quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::time::Duration;

use larder_bench::{
    rounds::{is_full, redis_url},
    staleness::{Failure, scenes},
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = redis_url()?;
    let [calm, faults, past] =
        if is_full() { [10_000, 14_000, 12_000] } else { [1_000, 2_200, 1_400] }.map(Duration::from_millis);
    scenes::calm(&url, calm).await?;
    scenes::faults(&url, faults).await?;
    scenes::past(&url, past).await
}
