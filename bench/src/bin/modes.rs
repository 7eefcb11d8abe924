//! What each mode is worth: the same scene with it and without it.
//!
//! usage: `modes quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::error::Error;

use larder_bench::{
    modes::{Lab, absent, adaptive, conditional, failing, hot, keys, lists, partial, purge},
    rounds::{Rounds, is_full, redis_url},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (full, redis_url) = (is_full(), redis_url()?);
    let mut measured = Rounds::new("modes");
    for round in 0..if full { 3 } else { 1 } {
        let lab = Lab { redis_url: redis_url.clone(), full, round };
        hot::run(&lab, &mut measured).await?;
        failing::run(&lab, &mut measured).await?;
        absent::run(&lab, &mut measured).await?;
        adaptive::run(&lab, &mut measured).await?;
        conditional::run(&lab, &mut measured).await?;
        lists::run(&lab, &mut measured).await?;
        partial::run(&lab, &mut measured).await?;
        keys::run(&lab, &mut measured).await?;
        purge::run(&lab, &mut measured).await?;
    }
    measured.finish();
    Ok(())
}
