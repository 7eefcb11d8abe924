//! Comparing what is served with the database.

use larder_testkit::{eventually, mongo};

use crate::{Larder, larder::PATIENCE};

const CONFIG: &str = "auth.open = true\nwatch.enabled = false\n[[collection]]\nname = \"items\"\nid = \"int\"\n\
    strict = false\n[audit]\nenabled = true\nevery = \"20ms\"\nsettle = \"50ms\"\n";

#[tokio::test]
async fn what_another_program_wrote_is_told_as_stale_where_nobody_watches() {
    let url = mongo::shared().url(&mongo::database_name());
    let larder = Larder::start_with(CONFIG, &["--mongo", &url]).await;
    // Without a Redis the two know nothing of each other.
    let other = Larder::start_with(&CONFIG.replace("true\nevery", "false\nevery"), &["--mongo", &url]).await;
    larder.put("/v1/items/1", r#"{"name":"a"}"#).await;
    let found = async |larder: &Larder| {
        larder.get("/v1/items/1").await;
        larder.get("/v1/_stats").await.json()["collections"][0]["audit"].clone()
    };
    assert!(found(&other).await.is_null(), "it is off unless it is wanted");
    assert!(!other.get("/metrics").await.text().contains("larder_audit"));
    eventually("it looks", PATIENCE, || async { found(&larder).await["checked"].as_u64() > Some(3) }).await;
    let sound = found(&larder).await;
    assert_eq!((&sound["stale"], &sound["failed"]), (&0.into(), &0.into()), "{sound}");

    other.put("/v1/items/1", r#"{"name":"b"}"#).await;
    eventually("the stale copy is found", PATIENCE, || async {
        found(&larder).await["stale"].as_u64() > Some(0)
    })
    .await;
    assert!(found(&larder).await["oldest_stale_ms"].as_u64() > Some(50));
    let metrics = larder.get("/metrics").await.text().to_owned();
    for begin in [
        "larder_audit_checks_total{collection=\"items\",result=\"same\"} ",
        "larder_audit_stale_age_seconds_bucket{collection=\"items\",le=\"+Inf\"} ",
        "larder_audit_oldest_stale_seconds{collection=\"items\"} 0.",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(begin)), "{begin}: {metrics}");
    }
    assert!(larder.output().contains("A cached copy is stale."), "{}", larder.output());
}
