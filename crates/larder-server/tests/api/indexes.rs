//! A collection that refuses lists which no index carries.

use bson::doc;
use larder_testkit::{eventually, mongo};

use crate::{ITEMS, Larder, assert_problem, larder::PATIENCE};

/// [`ITEMS`], where a list needs an index.
fn strict() -> String {
    let items = ITEMS.replace("id = \"int\"", "id = \"int\"\nrequire_index = true");
    format!("{items}\n[watch]\nenabled = false\n[mongo]\ndeadline = \"1s\"")
}

/// Checks how the list with these parameters is answered: with this status, and if refused naming field and index.
async fn check(larder: &Larder, parameters: &str, refused: Option<(&str, &str)>) {
    let answer = larder.get(&format!("/v1/items?{parameters}")).await;
    match refused {
        None => assert_eq!(answer.status, 200, "{parameters}: {answer:?}"),
        Some((field, index)) => {
            assert_problem(&answer, 400, Some(field));
            let problem = answer.json();
            assert!(problem["detail"].as_str().is_some_and(|text| text.contains(index)), "{problem}");
        }
    }
}

#[tokio::test]
async fn sqlite_has_an_index_for_each_declared_field_with_one_value() {
    let larder = Larder::start(&strict()).await;
    for parameters in
        ["", "stock=eq.1", "size.width=lt.5&sold=ne.true", "or=(stock.gt.0,name.prefix.a)", "sort=-price"]
    {
        check(&larder, parameters, None).await;
    }
    check(&larder, "tags=eq.new", Some(("tags", r#"lacks the index { "tags": 1 }"#))).await;
    check(&larder, "stock=ne.1", Some(("stock", "add a condition"))).await;
    check(&larder, "or=(stock.gt.0,tags.eq.new)", Some(("tags", r#"{ "tags": 1 }"#))).await;
    let by_body = larder.post("/v1/items/_search", r#"{"filter":{"tags":"new"}}"#).await;
    assert_problem(&by_body, 400, Some("tags"));
    let without = Larder::start(ITEMS).await;
    check(&without, "tags=eq.new", None).await;
    check(&without, "stock=ne.1", None).await;
}

#[tokio::test]
async fn a_list_is_served_as_soon_as_mongodb_has_its_index() {
    let (server, database) = (mongo::shared(), mongo::database_name());
    let larder = Larder::start_with(&strict(), &["--mongo", &server.url(&database)]).await;
    larder.put("/v1/items/1", r#"{"name":"a","stock":1}"#).await;
    for parameters in ["", "limit=1", "_id=gt.0", "sort=-_id", "_id=eq.1&stock=eq.1"] {
        check(&larder, parameters, None).await;
    }
    check(&larder, "stock=eq.1", Some(("stock", r#"filtered by "stock" it lacks the index { "stock": 1 }"#)))
        .await;
    check(
        &larder,
        "sort=-price",
        Some(("price", r#"sorted by "price" it lacks the index { "price": -1, "_id": 1 }"#)),
    )
    .await;
    // One that leaves documents out, or begins with another field, carries nothing.
    let indexes = [
        doc! { "key": { "stock": 1 }, "name": "sparse", "sparse": true },
        doc! { "key": { "name": 1, "price": 1 }, "name": "second" },
    ];
    server.command(&database, doc! { "createIndexes": "items", "indexes": indexes.to_vec() });
    eventually("an index of an operator is seen", PATIENCE, || async {
        larder.get("/v1/items?name=eq.a").await.status == 200
    })
    .await;
    check(&larder, "stock=eq.1", Some(("stock", "lacks the index"))).await;
    check(&larder, "price=gt.1", Some(("price", "lacks the index"))).await;
    check(&larder, "price=gt.1&name=eq.a&sort=name", None).await;
}

#[tokio::test]
async fn a_list_is_not_refused_because_nobody_could_look() {
    let server = mongo::Server::start();
    let url = server.url("shop");
    server.kill();
    let larder = Larder::start_with(&strict(), &["--mongo", &url]).await;
    assert_problem(&larder.get("/v1/items?stock=eq.1").await, 503, None);
    server.restart();
    eventually("what there is is looked at when the database comes", PATIENCE, || async {
        larder.get("/v1/items?stock=eq.1").await.status == 400
    })
    .await;
    server.kill();
    eventually("what was known is not held against a list", PATIENCE, || async {
        larder.get("/v1/items?stock=eq.1").await.status == 503
    })
    .await;
}
