//! Hit rates that are too low.

use larder_testkit::eventually;

use crate::{Larder, larder::PATIENCE};

const CONFIG: &str = "auth.open = true\n[alarms]\nwindow = \"1s\"\nwarm_up = \"0s\"\nmin_reads = 10\n\
    [[collection]]\nname = \"items\"\nid = \"int\"\nstrict = false\n";

async fn level(larder: &Larder) -> String {
    let stats = larder.get("/v1/_stats").await.json();
    stats["collections"][0]["hit_rate"]["level"].as_str().expect("a level").to_owned()
}

async fn metric(larder: &Larder, wanted: &str) -> bool {
    larder.get("/metrics").await.text().lines().any(|line| line == wanted)
}

#[tokio::test]
async fn a_hit_rate_that_falls_is_told_everywhere_and_logged_once() {
    let larder = Larder::start(CONFIG).await;
    assert_eq!(level(&larder).await, "unknown");
    let told = |text: &'static str| larder.output().matches(text).count();
    let mut next = 0;
    eventually("misses alone are told", PATIENCE, || {
        next += 50;
        let reads: Vec<_> = (next - 50..next).map(|id| format!("/v1/items/{id}")).collect();
        let larder = &larder;
        async move {
            for read in &reads {
                larder.get(read).await;
            }
            level(larder).await == "very-low"
        }
    })
    .await;
    assert!(metric(&larder, "larder_hit_rate_alarm{collection=\"items\"} 2").await);
    eventually("it is well again, and says so", PATIENCE, || async {
        for _ in 0..50 {
            larder.get("/v1/items/0").await;
        }
        level(&larder).await == "good"
    })
    .await;
    assert!(metric(&larder, "larder_hit_rate_alarm{collection=\"items\"} 0").await);
    eventually("the log tells", PATIENCE, || async { told("as it should be again") == 1 }).await;
    assert_eq!(told("very low: the cache helps little"), 1, "{}", larder.output());
}
