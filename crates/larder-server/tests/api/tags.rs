//! Tags that a collection's fields give its documents: what belongs together is purged together.

use larder_testkit::{mongo, redis};

use crate::{
    client::Answer,
    larder::{Larder, run},
};

fn config(app: &str) -> String {
    format!(
        r#"
auth.open = true
redis.app = "{app}"

[[collection]]
name = "products"
id = "int"
tags = ["category:{{category}}", "brand:{{brand.name}}", "{{labels}}"]
field = [
    {{ path = "category", type = "string" }},
    {{ path = "brand", type = "object" }},
    {{ path = "brand.name", type = "string" }},
    {{ path = "labels", type = "array<string>" }},
    {{ path = "story", type = "string" }},
]

[[collection.partial]]
name = "card"
fields = ["category", "brand", "labels"]
"#
    )
}

const TEA: &str = r#"{"category":"tea","brand":{"name":"Mill"},"labels":["new","sale"],"story":"long"}"#;
const COFFEE: &str = r#"{"category":"coffee","brand":{"name":"Mill"},"labels":["new"],"story":"long"}"#;

async fn hit(larder: &Larder, path: &str) -> bool {
    let answer: Answer = larder.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.cache_status().starts_with("larder; hit")
}

/// Reads both documents until they are hits.
async fn warm(larder: &Larder, query: &str) {
    for id in [1, 2] {
        let path = format!("/v1/products/{id}{query}");
        hit(larder, &path).await;
        assert!(hit(larder, &path).await, "{path}");
    }
}

async fn purge(larder: &Larder, tag: &str) {
    let order = format!(r#"{{"collection":"products","tags":["{tag}"]}}"#);
    let answer = larder.post("/v1/_purge", &order).await;
    assert_eq!((answer.status, answer.json()["tags"].as_u64()), (200, Some(1)), "{answer:?}");
}

#[tokio::test]
async fn a_purge_of_a_tag_takes_the_documents_that_have_it_and_no_others() {
    let database = mongo::database_name();
    let (single, cluster) = (redis::single(), redis::cluster());
    for arguments in [&[][..], &["--redis", &single], &["--redis", &cluster]] {
        let larder = Larder::start_with(&config(&database), arguments).await;
        larder.put("/v1/products/1", TEA).await;
        larder.put("/v1/products/2", COFFEE).await;
        for (tag, left) in [
            ("category:tea", [false, true]),
            ("sale", [false, true]),
            ("category:coffee", [true, false]),
            ("brand:Mill", [false, false]),
            ("new", [false, false]),
            ("category:herbs", [true, true]),
        ] {
            // The last is for documents that are cached in part alone.
            for query in ["", "?fields=category"] {
                if !query.is_empty() {
                    larder.post("/v1/_purge", r#"{"collection":"products","all":true}"#).await;
                }
                warm(&larder, query).await;
                purge(&larder, tag).await;
                let found = [
                    hit(&larder, &format!("/v1/products/1{query}")).await,
                    hit(&larder, &format!("/v1/products/2{query}")).await,
                ];
                assert_eq!(found, left, "{arguments:?} {tag} {query}");
            }
        }
    }
}

#[tokio::test]
async fn the_command_purges_tags_too() {
    for redis in [redis::single(), redis::cluster()] {
        let database = mongo::database_name();
        let larder = Larder::start_with(&config(&database), &["--redis", &redis]).await;
        larder.put("/v1/products/1", TEA).await;
        larder.put("/v1/products/2", COFFEE).await;
        warm(&larder, "").await;
        let file = larder.folder().join("larder.toml").display().to_string();
        let command = ["purge", "--config", &file, "--redis", &redis, "products", "--tag", "category:tea"];
        let done = run(&command, &[]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        larder_testkit::eventually("the news arrives", crate::larder::PATIENCE, || async {
            !hit(&larder, "/v1/products/1").await
        })
        .await;
        assert!(hit(&larder, "/v1/products/2").await);
    }
}

#[tokio::test]
async fn a_category_of_the_sample_shop_is_purged_together() {
    let larder = Larder::start_in(tempfile::TempDir::new().unwrap(), &[]).await;
    let tagged = larder.get("/v1/products/1").await.json()["category"].as_str().unwrap().to_owned();
    let mut other = 2;
    while larder.get(&format!("/v1/products/{other}")).await.json()["category"] == tagged.as_str() {
        other += 1;
    }
    let other = format!("/v1/products/{other}");
    assert!(hit(&larder, "/v1/products/1").await && hit(&larder, &other).await);
    purge(&larder, &format!("category:{tagged}")).await;
    assert!(!hit(&larder, "/v1/products/1").await);
    assert!(hit(&larder, &other).await);
}
