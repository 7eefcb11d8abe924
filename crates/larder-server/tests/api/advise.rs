//! `GET /v1/_advise` and `larder advise`.

use larder_testkit::eventually;

use crate::{
    Larder,
    larder::{PATIENCE, run},
};

const CONFIG: &str = "auth.open = true\n[[collection]]\nname = \"items\"\nid = \"string\"\nstrict = false\n\
    ttl = \"40ms\"\njitter = 0\nnegative_ttl = \"40ms\"\n[[collection]]\nname = \"others\"\nid = \"int\"\nstrict = false\n";

#[tokio::test]
async fn a_setting_that_other_figures_speak_against_is_told_with_the_figures() {
    let larder = Larder::start(CONFIG).await;
    larder.put("/v1/items/a", "{}").await;
    larder.get("/v1/items/a").await;
    let say = || {
        let output = run(&["advise", "--url", larder.url()], &[]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(say().contains("items: 1 reads") && say().contains("too few to tell"), "{}", say());
    eventually("it has expired often enough", PATIENCE, || async {
        for _ in 0..50 {
            larder.get("/v1/items/a").await;
        }
        let items = larder.get("/v1/_advise").await.json()["collections"][0].clone();
        items["enough_reads"] == true && items["compared"].as_u64().is_some_and(|compared| compared >= 30)
    })
    .await;
    let answer = larder.get("/v1/_advise").await.json();
    let [items, others] = [0, 1].map(|at| &answer["collections"][at]);
    assert_eq!((&items["name"], &items["enough_reads"]), (&"items".into(), &true.into()), "{answer}");
    assert_eq!(
        (&items["advice"][0]["setting"], &items["advice"][0]["better"]),
        (&"ttl".into(), &"80ms".into()),
        "{answer}"
    );
    assert_eq!(
        (&others["enough_reads"], &others["advice"]),
        (&false.into(), &serde_json::json!([])),
        "{answer}"
    );
    assert!(say().lines().any(|line| line == "  ttl = 80ms (now 40ms)"), "{}", say());
    let json = run(&["advise", "--json", "--url", larder.url()], &[]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON as the server sent it");
    assert_eq!(json["collections"][0]["advice"][0]["setting"], "ttl", "{json}");
}
