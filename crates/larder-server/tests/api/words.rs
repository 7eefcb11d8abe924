//! Searches for words, over both databases.

use larder_testkit::{eventually, mongo};
use serde_json::json;

use crate::{
    assert_problem,
    commands::run_with,
    larder::{Larder, PATIENCE},
    list::ids,
};

const NOTES: &str = r#"
[auth]
open = true

[[collection]]
name = "notes"
id = "int"
require_index = true
field = [
    { path = "title", type = "string", search = true },
    { path = "body", type = "string", search = true },
    { path = "tags", type = "array<string>", filter = true, search = true },
    { path = "stars", type = "int", filter = true, sort = true },
]
"#;

async fn fill(larder: &Larder) {
    let notes = [
        json!({ "title": "Red shoes", "body": "Made of wool.", "tags": ["new in", "sale"], "stars": 1 }),
        json!({ "title": "SHOES, red", "body": "Café-Leder & Wolle", "tags": ["new"], "stars": 2 }),
        json!({ "title": "Reddish shoe", "body": "wool-free", "stars": 3 }),
    ];
    for (id, note) in notes.iter().enumerate() {
        let answer = larder.put(&format!("/v1/notes/{id}"), &note.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

async fn check_answers(larder: &Larder) {
    for (parameters, body, expected) in [
        ("title=text.red%20shoes", json!({ "title": { "text": "red shoes" } }), vec![0, 1]),
        ("title=text.shoe", json!({ "title": { "text": "shoe" } }), vec![2]),
        ("body=text.CAF%C3%89", json!({ "body": { "text": "CAFÉ" } }), vec![1]),
        ("body=text.cafe", json!({ "body": { "text": "cafe" } }), vec![]),
        ("tags=text.in,new", json!({ "tags": { "text": "in new" } }), vec![0]),
        (
            "title=text.shoes&body=text.wool",
            json!({ "title": { "text": "shoes" }, "body": { "text": "wool" } }),
            vec![0],
        ),
        ("title=text.red&sort=-stars", json!({ "title": { "text": "red" } }), vec![1, 0]),
    ] {
        let listed = larder.get(&format!("/v1/notes?{parameters}")).await;
        assert_eq!(listed.status, 200, "{parameters}: {}", listed.text());
        assert_eq!(ids(&listed.json()), expected, "{parameters}");
        let mut by_id = expected;
        by_id.sort_unstable();
        let searched = larder.post("/v1/notes/_search", &json!({ "filter": body }).to_string()).await.json();
        assert_eq!(ids(&searched), by_id, "{body}");
    }
}

#[tokio::test]
async fn words_are_found_whole_and_in_any_case() {
    let larder = Larder::start(NOTES).await;
    fill(&larder).await;
    check_answers(&larder).await;
    let or = "or=(title.text.shoe,body.text.%22wolle,%20leder%22)";
    let refused = larder.get(&format!("/v1/notes?{or}")).await;
    assert_problem(&refused, 400, Some("title"));
    assert!(refused.text().contains("words as one of several alternatives"), "{}", refused.text());
    let both = larder.get(&format!("/v1/notes?{or}&tags=text.new")).await;
    assert_eq!(ids(&both.json()), [1]);
    let lenient = Larder::start(&NOTES.replace("require_index = true", "")).await;
    fill(&lenient).await;
    assert_eq!(ids(&lenient.get(&format!("/v1/notes?{or}")).await.json()), [1, 2]);
    larder.put("/v1/notes/2", r#"{"title":"red shoes"}"#).await;
    assert_eq!(ids(&larder.get("/v1/notes?title=text.red").await.json()), [0, 1, 2]);
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_named() {
    let larder = Larder::start(NOTES).await;
    for (parameters, field, said) in [
        ("title=eq.a", "title", "not for other filters"),
        ("title=is.null", "title", "not for other filters"),
        ("stars=text.1", "stars", "has no words"),
        ("title=text.", "title", "names no word"),
        ("title=text.%21%3F", "title", "names no word"),
        ("or=(title.text.-)", "title", "names no word"),
        ("nowhere=text.a", "nowhere", "these can: _id, title, body"),
    ] {
        let answer = larder.get(&format!("/v1/notes?{parameters}")).await;
        assert_problem(&answer, 400, Some(field));
        assert!(answer.text().contains(said), "{parameters}: {}", answer.text());
    }
    let config = NOTES
        .replace("type = \"int\", filter", "type = \"int\", search = true, filter")
        .replace("field = [", "field = [{ path = \"_id\", type = \"string\", search = true },");
    let said = String::from_utf8_lossy(&run_with(&config, &["check"], &[]).stderr).into_owned();
    assert!(said.contains("only a string") && said.contains("an id has no words"), "{said}");
}

#[tokio::test]
async fn the_search_of_a_field_is_described() {
    let larder = Larder::start(NOTES).await;
    let description = larder.get("/openapi.json").await.json();
    let filter = &description["components"]["schemas"]["notes.filter"]["properties"];
    assert_eq!(filter["title"]["$ref"], "#/components/schemas/Condition.Words");
    assert_eq!(filter["tags"]["$ref"], "#/components/schemas/Condition.Searched");
    let schemas = &description["components"]["schemas"];
    assert!(schemas["Condition.Searched"]["anyOf"][2]["properties"]["text"].is_object());
    assert!(schemas["Condition.String"]["anyOf"][2]["properties"]["text"].is_null());
    let parameters = description["paths"]["/v1/notes"]["get"]["parameters"].as_array().expect("parameters");
    let described = |name: &str| {
        let found = parameters.iter().find(|parameter| parameter["name"] == name);
        found.and_then(|parameter| parameter["description"].as_str()).expect("it is described").to_owned()
    };
    assert!(described("title").contains("text.") && !described("title").contains("eq."));
    assert!(described("tags").contains("text.") && described("tags").contains("eq."));
    assert!(!described("stars").contains("text."));
}

#[tokio::test]
async fn mongodb_is_searched_once_its_text_index_is_there() {
    let (server, database) = (mongo::shared(), mongo::database_name());
    let url = server.url(&database);
    let larder = Larder::start_with(NOTES, &["--mongo", &url]).await;
    fill(&larder).await;
    let refused = larder.get("/v1/notes?title=text.red").await;
    assert_problem(&refused, 400, Some("title"));
    assert!(refused.text().contains(r#"it lacks the index { \"title\": \"text\" }"#), "{}", refused.text());
    let check = |more: &[&str]| {
        let output = run_with(NOTES, &[&["check", "--mongo", &url], more].concat(), &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = check(&[]);
    assert!(said.contains("none for title") && said.contains("\"default_language\": \"none\""), "{said}");
    let said = check(&["--create-indexes"]);
    assert!(!said.contains("none for"), "{said}");
    eventually("the index is seen", PATIENCE, || async {
        larder.get("/v1/notes?title=text.red").await.status == 200
    })
    .await;
    check_answers(&larder).await;
}

#[test]
fn the_doctor_tells_rows_by_words_from_rows_by_values() {
    let rows = |condition: &str| {
        let grant =
            format!("grant = [{{ role = \"anonymous\", verbs = [\"list\"], rows = [\"{condition}\"] }}]");
        let config = format!("{}{grant}\n", NOTES.replace("[auth]\nopen = true", ""));
        let output = run_with(&config, &["check"], &[]);
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    };
    let said = rows("title=text.red");
    assert!(said.contains("notes") && !said.contains("no index for"), "{said}");
    let said = rows("title=eq.red");
    assert!(said.contains("no index for title") && said.contains("filter = true"), "{said}");
}
