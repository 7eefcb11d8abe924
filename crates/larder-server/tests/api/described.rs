//! `/openapi.json` before validators that are not ours, and what the server takes and sends before the schemas that it gives.

use bson::doc;
use jsonschema::{Validator, draft202012};
use larder_testkit::{eventually, mongo};
use serde_json::{Value, json};

use crate::{
    ITEMS,
    client::Answer,
    items,
    larder::{Larder, PATIENCE},
};

/// The JSON pointers of all schemas of a description. What a schema has inside is its own matter.
fn schemas_of(description: &Value) -> Vec<String> {
    let named = description["components"]["schemas"].as_object().expect("components");
    let mut found: Vec<String> =
        named.keys().map(|name| format!("/components/schemas/{}", escape(name))).collect();
    for part in ["/paths", "/components/responses", "/components/headers"] {
        collect(description.pointer(part).expect("the part is there"), part, &mut found);
    }
    found
}

fn collect(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, member)| (escape(name), member)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        _ => return,
    };
    for (name, member) in members {
        let pointer = format!("{pointer}/{name}");
        match name.as_str() {
            "schema" => found.push(pointer),
            _ => collect(member, &pointer, found),
        }
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The schema at this place, with all that it refers to.
#[track_caller]
fn validator(description: &Value, pointer: &str) -> Validator {
    let mut root = description.clone();
    // Braces of a path's template have to be escaped in the fragment of a URI.
    let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
    root["$ref"] = format!("#{fragment}").into();
    let built = draft202012::options().should_validate_formats(true).build(&root);
    built.unwrap_or_else(|error| panic!("{pointer}: {error}"))
}

#[track_caller]
fn assert_valid(description: &Value, pointer: &str, instance: &Value) {
    if let Err(error) = validator(description, pointer).validate(instance) {
        panic!("{pointer}: {error} at {}: {instance}", error.instance_path());
    }
}

/// The examples inside a schema, each with the place of the schema that it illustrates.
fn examples_of(schema: &Value, pointer: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for example in schema["examples"].as_array().into_iter().flatten() {
        found.push((pointer.to_owned(), example.clone()));
    }
    let inner: Vec<(String, &Value)> = match schema {
        Value::Object(members) => members.iter().map(|(name, member)| (escape(name), member)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        _ => Vec::new(),
    };
    found.extend(
        inner.into_iter().flat_map(|(name, member)| examples_of(member, &format!("{pointer}/{name}"))),
    );
    found
}

/// Checks a description as a whole.
#[track_caller]
fn check_document(text: &str) {
    let spec = oas3::from_json(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    spec.validate_version().expect("it is OpenAPI 3.1");
    let mut ids = Vec::new();
    for (path, method, operation) in spec.operations() {
        ids.push(operation.operation_id.clone().unwrap_or_else(|| panic!("{method} {path} has no id")));
        assert!(
            operation.responses.as_ref().is_some_and(|responses| !responses.is_empty()),
            "{method} {path}"
        );
        let parameters: Vec<_> =
            operation.parameters.iter().map(|one| one.resolve(&spec).expect("it leads somewhere")).collect();
        let in_path = |name: &str| {
            parameters.iter().any(|one| {
                one.name == name
                    && one.location == oas3::spec::ParameterIn::Path
                    && one.required == Some(true)
            })
        };
        for name in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
            assert!(in_path(name), "{method} {path}: {name} is not described");
        }
        let mut places: Vec<_> =
            parameters.iter().map(|one| (&one.name, format!("{:?}", one.location))).collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), parameters.len(), "{method} {path} has a parameter twice");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operation's id is its own");

    let description: Value = serde_json::from_str(text).expect("JSON");
    for pointer in schemas_of(&description) {
        let schema = description.pointer(&pointer).expect("it was found there");
        draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{pointer}: {error}: {schema}"));
        validator(&description, &pointer);
        for (place, example) in examples_of(schema, &pointer) {
            assert_valid(&description, &place, &example);
        }
    }
}

#[tokio::test]
async fn every_description_passes_the_validators() {
    let roles = "[[role]]\nname = \"clerk\"\n[[role]]\nname = \"anonymous\"\n[[collection]]\nname = \"items\"\nid = \"objectId\"\n\
        require_if_match = true\ngrant = [{ role = \"anonymous\", verbs = [\"read\", \"list\", \"patch\", \"purge\"], hide = [\"b\"] }]\n\
        field = [{ path = \"a\", type = \"any\" }, { path = \"b\", type = \"int\" }, { path = \"c.d\", type = \"array<date>\" }]";
    let lists = &format!("{ITEMS}\n[cache]\nlists_ttl = \"1m\"");
    for config in [ITEMS, roles, lists, "[auth]\nopen = true"] {
        check_document(Larder::start(config).await.get("/openapi.json").await.text());
    }
}

/// A description, and a server to compare it with.
struct Described {
    larder: Larder,
    description: Value,
}

impl Described {
    /// Sends a body that its schema allows, if there is one, and checks the answer against the schema of its status.
    async fn send(
        &self,
        method: &str,
        template: &str,
        address: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let operation = format!("/paths/{}/{}", escape(template), method.to_lowercase());
        let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        if !body.is_empty() {
            let pointer = format!("{operation}/requestBody/content/{}/schema", escape(media_type));
            assert_valid(&self.description, &pointer, &serde_json::from_str(body).expect("JSON"));
        }
        let headers = [headers, &[("content-type", media_type)]].concat();
        let answer = self.larder.client().send(method, address, &headers, body).await;
        if !answer.body.is_empty() {
            assert_valid(&self.description, &self.schema_of(&operation, &answer), &answer.json());
        }
        answer
    }

    /// Where the schema of an answer stands.
    fn schema_of(&self, operation: &str, answer: &Answer) -> String {
        let mut place = format!("{operation}/responses/{}", answer.status);
        if self.description.pointer(&place).is_none() {
            let response =
                self.description.pointer(&format!("{operation}/responses/{}XX", answer.status / 100));
            let reference = response.and_then(|response| response["$ref"].as_str());
            place = reference.unwrap_or_else(|| panic!("{operation}: {answer:?}"))[1..].to_owned();
        }
        let media_type = answer.header("content-type").expect("a body has a type");
        format!("{place}/content/{}/schema", escape(media_type))
    }
}

/// Documents with what each type can have: null, what is no number, dates that have no text.
const DOCUMENTS: [&str; 4] = [
    r#"{"_id":1,"name":"a"}"#,
    r#"{"_id":2,"name":"b","price":"12.50","stock":9007199254740993,"weight":1,"sold":true,"made_at":"2025-01-02T03:04:05.678Z",
        "maker_id":"5f43a1b2c3d4e5f60718293a","tags":["new"],"size":{"width":1,"height":2},"note":[1,{"a":null}]}"#,
    r#"{"_id":3,"name":"c","price":null,"stock":null,"weight":null,"sold":null,"made_at":null,"maker_id":null,"tags":null,
        "size":null,"note":null}"#,
    r#"{"_id":4,"name":"d","price":{"$numberDecimal":"NaN"},"weight":{"$numberDouble":"-Infinity"},
        "made_at":{"$date":{"$numberLong":"-1"}},"tags":["new",null],"size":{"width":null,"height":3}}"#,
];

#[tokio::test]
async fn what_the_server_takes_and_sends_is_what_its_schemas_say() {
    let larder = items().await;
    let description = larder.get("/openapi.json").await.json();
    let server = Described { larder, description };
    let (items, item) = ("/v1/items", "/v1/items/{id}");
    let expect = |answer: Answer, status: u16| assert_eq!(answer.status, status, "{answer:?}");
    for document in DOCUMENTS {
        expect(server.send("POST", items, items, &[], document).await, 201);
    }
    let many = format!("[{},{}]", DOCUMENTS[0], DOCUMENTS[1].replace("\"_id\":2", "\"_id\":5"));
    let bulk = server.send("POST", "/v1/items/bulk", "/v1/items/bulk", &[], &many).await;
    assert_eq!((&bulk.json()["created"], &bulk.json()["failed"]), (&json!(1), &json!(1)), "{bulk:?}");
    let canonical = [("accept", "application/ejson"), ("prefer", "count=exact")];
    for headers in [&[][..], &canonical[..]] {
        for id in 1..=4 {
            expect(server.send("GET", item, &format!("/v1/items/{id}"), headers, "").await, 200);
        }
        expect(server.send("GET", item, "/v1/items/2?fields=stock,size.width", headers, "").await, 200);
        for query in ["", "?limit=2&fields=price", "?name=eq.nobody"] {
            expect(server.send("GET", items, &format!("/v1/items{query}"), headers, "").await, 200);
        }
        let query = "/v1/items/_q/by_stock";
        expect(server.send("GET", query, query, headers, "").await, 200);
    }
    expect(
        server
            .send(
                "PUT",
                item,
                "/v1/items/2",
                &[],
                r#"{"name":"e","made_at":{"$date":"2025-01-02T03:04:05Z"}}"#,
            )
            .await,
        200,
    );
    expect(server.send("PATCH", item, "/v1/items/2", &[], r#"{"stock":1}"#).await, 200);
    for (method, template, address, body, status) in [
        ("GET", item, "/v1/items/9", "", 404),
        ("GET", items, "/v1/items?stock=eq.many", "", 400),
        ("POST", items, items, DOCUMENTS[0], 409),
        ("PATCH", item, "/v1/items/2", r#"{"stock":"many"}"#, 400),
    ] {
        expect(server.send(method, template, address, &[], body).await, status);
    }
    let purge = "/v1/_purge";
    for order in [
        r#"{"collection":"items","keys":[1,"2"],"tags":["sale"],"pattern":"tenant:42:*","all":false,"mode":"hard"}"#,
        r#"{"collection":"items","all":true}"#,
    ] {
        expect(server.send("POST", purge, purge, &[], order).await, 200);
    }
}

#[tokio::test]
async fn a_body_that_the_server_refuses_is_against_its_schema() {
    let larder = items().await;
    let description = larder.get("/openapi.json").await.json();
    let pointer = "/paths/~1v1~1items/post/requestBody/content/application~1json/schema";
    let schema = validator(&description, pointer);
    for body in [
        r#"{"_id":1}"#,
        r#"{"_id":1,"name":null}"#,
        r#"{"_id":1,"name":5}"#,
        r#"{"_id":"a","name":"a"}"#,
        r#"{"_id":1,"name":"a","stock":1.5}"#,
        r#"{"_id":1,"name":"a","sold":"yes"}"#,
        r#"{"_id":1,"name":"a","made_at":"yesterday"}"#,
        r#"{"_id":1,"name":"a","maker_id":"5f43"}"#,
        r#"{"_id":1,"name":"a","tags":[5]}"#,
        r#"{"_id":1,"name":"a","size":{"width":"wide"}}"#,
    ] {
        assert_eq!(larder.post("/v1/items", body).await.status, 400, "{body}");
        assert!(!schema.is_valid(&serde_json::from_str(body).expect("JSON")), "{body}");
    }
}

#[tokio::test]
async fn what_mongodb_demands_of_documents_is_described() {
    let (server, database) = (mongo::shared(), mongo::database_name());
    let schema = doc! {
        "bsonType": "object", "required": ["name", "stock", "margin"], "properties": {
            "name": { "bsonType": "string", "description": "what it is called", "pattern": "^[A-Z]" },
            "stock": { "bsonType": ["int", "long"], "minimum": 0 },
            "size": { "bsonType": "object", "properties": { "width": { "enum": [1, 2] } } },
            "margin": { "bsonType": "int", "description": "undeclared" },
        },
    };
    let create = doc! { "create": "items", "validator": { "$jsonSchema": schema } };
    server.command(&database, create);
    let hidden = "[[collection.grant]]\nrole = \"anonymous\"\nverbs = [\"read\", \"patch\", \"create\"]\nhide = [\"stock\"]";
    let closed =
        format!("[[role]]\nname = \"anonymous\"\n{}\n{hidden}", ITEMS.replace("open = true", "open = false"));
    for (config, sees_stock) in [(ITEMS.to_owned(), true), (closed, false)] {
        let larder = Larder::start_with(&config, &["--mongo", &server.url(&database)]).await;
        eventually("the validator is found", PATIENCE, || async {
            larder.get("/openapi.json").await.text().contains("what it is called")
        })
        .await;
        let answer = larder.get("/openapi.json").await;
        check_document(answer.text());
        let sent = &answer.json()["components"]["schemas"]["items.body"];
        let properties = &sent["properties"];
        assert_eq!(properties["name"]["pattern"], "^[A-Z]");
        assert_eq!(properties["size"]["properties"]["width"]["enum"], json!([1, 2]));
        assert!(!answer.text().contains("margin"), "{sent}");
        if sees_stock {
            assert_eq!(sent["required"], json!(["name", "stock"]));
            assert_eq!(properties["stock"], json!({ "type": "integer", "format": "int64", "minimum": 0 }));
        } else {
            assert_eq!(sent["required"], json!(["name"]));
            assert!(!answer.text().contains("stock\":"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_body_of_a_search_is_described_as_it_is_taken() {
    let larder = items().await;
    let description = larder.get("/openapi.json").await.json();
    let pointer = "/paths/~1v1~1items~1_search/post/requestBody/content/application~1json/schema";
    let filters = [
        json!({}),
        json!({ "name": "a", "price": { "gte": 10, "lt": "50.5" }, "tags": { "in": ["x", null] } }),
        json!({ "or": [{ "stock": null }, { "and": [{ "made_at": { "lt": "2025-01-02T00:00:00Z" } }] }] }),
        json!({ "maker_id": { "$oid": "5f43a1b2c3d4e5f60718293a" }, "size.width": { "exists": true } }),
    ];
    for filter in filters {
        let body = json!({ "filter": filter, "sort": ["-price", "_id"], "limit": 5, "fields": ["name"] });
        assert_valid(&description, pointer, &body);
        assert_eq!(larder.post("/v1/items/_search", &body.to_string()).await.status, 200, "{body}");
    }
    for filter in [
        json!({ "$where": "1" }),
        json!({ "name": { "$regex": "a" } }),
        json!({ "name": ["a"] }),
        json!({ "stock": { "prefix": "1" } }),
        json!({ "weight": 1 }),
        json!({ "or": [] }),
    ] {
        let body = json!({ "filter": filter });
        assert!(!validator(&description, pointer).is_valid(&body), "{body}");
        assert_eq!(larder.post("/v1/items/_search", &body.to_string()).await.status, 400, "{body}");
    }
}
