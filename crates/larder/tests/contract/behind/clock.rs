//! A Redis that comes back with less than was acknowledged, and with a clock behind the time of the loss: what the database has of the
//! lost writes is later than what is written next.

use std::time::Duration;

use larder::Cache;
use larder_testkit::{
    eventually,
    redis::{Deployment, Options, Reply},
};

use super::{SOON, faults::connected, quick, read, versioned::Versioned};

const KEY: &str = "k";
/// By so much the clock is behind.
const BEHIND: Duration = Duration::from_secs(3);

/// The clock of Redis, in microseconds: as versions are.
fn now_us(deployment: &Deployment) -> u64 {
    let Reply::Array(parts) = deployment.servers()[0].ask(&["TIME"]) else {
        panic!("seconds and microseconds")
    };
    let number = |part: &Reply| part.text().and_then(|text| text.parse::<u64>().ok()).unwrap();
    number(&parts[0]) * 1_000_000 + number(&parts[1])
}

async fn flushed(cache: &Cache<String, u64>) {
    cache.behind().unwrap().flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_a_clock_behind_a_loss_yields_to_the_database_until_the_clock_has_passed_it() {
    for deployment in Deployment::each(&Options::default()) {
        let rows = Versioned::default();
        let redis = connected(&deployment.url(), Duration::from_secs(2)).await;
        let builder = Cache::<String, u64>::builder("clock").policy(crate::setup::lasting()).redis(&redis);
        let cache = builder.source(rows.clone()).sink(rows.clone()).write_behind(quick()).build().unwrap();
        // By a write that Redis has lost.
        rows.set(KEY, now_us(&deployment) + BEHIND.as_micros() as u64, 1);

        cache.put(&KEY.to_owned(), &2).await.unwrap();
        flushed(&cache).await;
        assert_eq!(rows.row(KEY), Some(1), "{}: the later row stays", deployment.kind());
        assert_eq!(read(&cache, KEY).await, Some(2), "what was acknowledged is cached like any other value");
        cache.invalidate(KEY).await.unwrap();
        assert_eq!(read(&cache, KEY).await, Some(1));

        eventually("the clock has passed it", BEHIND + SOON, || async {
            cache.put(&KEY.to_owned(), &3).await.unwrap();
            flushed(&cache).await;
            rows.row(KEY) == Some(3)
        })
        .await;
        assert_eq!(read(&cache, KEY).await, Some(3));
    }
}
