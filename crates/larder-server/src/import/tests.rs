//! Imports of each format into SQLite, with what is wrong in them.

use std::{collections::BTreeMap, fs, io::Cursor, path::Path};

use larder::document::{Collection, Database, Field, FieldType, Filter, Id, IdType, Schema};

use super::{ImportArgs, Input, Outcome, declare, import, run};

fn schema() -> Schema {
    Schema::new("things", IdType::Int)
        .field(Field::new("name", FieldType::String).required())
        .field(Field::new("price", FieldType::Decimal))
        .field(Field::new("maker", FieldType::Object))
        .field(Field::new("maker.name", FieldType::String))
        .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))))
        .field(Field::new("added", FieldType::Date))
}

async fn things() -> Collection {
    Database::sqlite_in_memory().await.unwrap().collection(schema()).build().unwrap()
}

pub(super) fn args(file: &Path) -> ImportArgs {
    ImportArgs {
        collection: "things".into(),
        file: file.to_owned(),
        format: None,
        id: None,
        upsert: false,
        dry_run: false,
        batch: 3,
        rejects: None,
        declare: false,
    }
}

/// Imports a file of this name and content; what came of it, and the reject file.
async fn check(name: &str, content: &str) -> (Collection, Outcome, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, content).unwrap();
    let things = things().await;
    let outcome = run(&args(&file), &things).await.unwrap();
    let rejects = fs::read_to_string(folder.path().join(format!("{name}.rejects"))).unwrap_or_default();
    (things, outcome, rejects)
}

#[tokio::test]
async fn a_json_array_is_imported_and_its_bad_elements_kept() {
    let content = r#"[{"_id":1,"name":"a","price":"1.50","maker":{"name":"M"},"tags":["x"]},
        {"_id":2,"name":7}, {"_id":3,"name":"c"}, nonsense, {"_id":1,"name":"again"}, {"name":"no id"}]"#;
    let (things, outcome, rejects) = check("things.json", content).await;
    assert_eq!((outcome.imported, outcome.rejected), (2, 4));
    let json = things.get(&Id::Int(1)).await.unwrap().unwrap().json().clone();
    assert_eq!(
        json,
        r#"{"_id":1,"name":"a","price":{"$numberDecimal":"1.50"},"maker":{"name":"M"},"tags":["x"]}"#
    );
    let lines: Vec<&str> = rejects.lines().collect();
    assert!(lines[0].starts_with("# element 2: name: must be a string"), "{rejects}");
    assert_eq!(lines[1], r#"{"_id":2,"name":7}"#);
    assert!(lines[2].starts_with("# element 4: not valid JSON"), "{rejects}");
    assert_eq!(lines[3], "nonsense");
    assert_eq!(lines[4], "# element 5: _id: the id is taken");
    assert!(lines[6].starts_with("# element 6: _id: is required"), "{rejects}");
}

#[tokio::test]
async fn lines_are_imported_and_the_bad_ones_kept_with_their_numbers() {
    let content =
        "{\"_id\":1,\"name\":\"a\"}\n\n{\"_id\":2,\"nmae\":\"b\"}\n{\"_id\":3\n{\"_id\":4,\"name\":\"d\"}";
    for name in ["things.ndjson", "things.jsonl", "things.json", "things"] {
        let (things, outcome, rejects) = check(name, content).await;
        assert_eq!((outcome.imported, outcome.rejected), (2, 2), "{name}");
        assert_eq!(things.count(&Filter::All).await.unwrap(), 2);
        assert!(rejects.starts_with("# line 3: nmae: "), "{rejects}");
        assert!(rejects.contains("\n{\"_id\":2,\"nmae\":\"b\"}\n# line 4: "), "{rejects}");
    }
}

#[tokio::test]
async fn wrong_json_is_told_with_its_place_in_its_own_record() {
    let (_, _, rejects) = check("things.ndjson", "{\"_id\":1,\"name\":\"a\"}\n{\"_id\":2,,}\n").await;
    assert!(
        rejects.starts_with("# line 2: not valid JSON: key must be a string at column 10\n"),
        "{rejects}"
    );
    let (_, _, rejects) = check("things.json", "[{\"_id\":1,\"name\":\"a\"},\n\n{\n \"_id\":2,,}]").await;
    let expected = "# element 2: not valid JSON: key must be a string in line 2 of it, at column 10\n";
    assert!(rejects.starts_with(expected), "{rejects}");
}

#[tokio::test]
async fn a_table_is_imported_by_the_declared_types_and_its_bad_rows_kept() {
    let content = "_id,name,price,maker.name,tags,added\n\
                   1,007,1.50,M,\"[\"\"x\"\"]\",2025-01-02T03:04:05Z\n\
                   2,b,much,,,\n\
                   x,c,,,,\n\
                   4,\"two\nlines\",,,,\n\
                   5,e\n";
    let (things, outcome, rejects) = check("things.csv", content).await;
    assert_eq!((outcome.imported, outcome.rejected), (2, 3));
    let json = things.get(&Id::Int(1)).await.unwrap().unwrap().json().clone();
    let expected = r#"{"_id":1,"name":"007","price":{"$numberDecimal":"1.50"},"maker":{"name":"M"},"tags":["x"],"added":{"$date":"2025-01-02T03:04:05Z"}}"#;
    assert_eq!(json, expected);
    let lines: Vec<&str> = rejects.lines().collect();
    assert_eq!(lines[0], "_id,name,price,maker.name,tags,added");
    assert!(lines[1].starts_with("# line 3: price: "), "{rejects}");
    assert_eq!(lines[2..5], ["2,b,much,,,", "# line 4: _id: must be a number", "x,c,,,,"]);
    assert_eq!(lines[5], "# line 7: has 2 cells, the header row has 6");
}

#[tokio::test]
async fn a_mended_reject_file_can_be_imported() {
    let (things, outcome, rejects) = check("things.csv", "_id,name\n1,a\n2,\n").await;
    assert_eq!((outcome.imported, outcome.rejected), (1, 1));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.csv.rejects");
    fs::write(&file, rejects.replace("2,", "2,mended")).unwrap();
    let outcome = run(&args(&file), &things).await.unwrap();
    assert_eq!((outcome.imported, outcome.rejected), (1, 0));
}

#[tokio::test]
async fn a_rejected_element_over_several_lines_can_be_mended_and_imported() {
    let content =
        "[\n  {\n    \"_id\": 1,\n    \"name\": \"a\"\n  },\n  {\n    \"_id\": 2,\n    \"name\": 7\n  }\n]\n";
    let (things, outcome, rejects) = check("things.json", content).await;
    assert_eq!((outcome.imported, outcome.rejected), (1, 1));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.json.rejects");
    fs::write(&file, rejects.replace('7', "\"mended\"")).unwrap();
    let outcome = run(&args(&file), &things).await.unwrap();
    assert_eq!((outcome.imported, outcome.rejected), (1, 0), "{rejects}");
}

#[tokio::test]
async fn what_begins_like_a_reason_is_not_passed_over_in_a_reject_file() {
    for (name, content, mend, left, document) in [
        (
            "a.csv",
            "#x,_id,n\n#A \"1\",1,bad\n#A2,2,7\n",
            ("bad", "5"),
            0,
            r##"{"_id":1,"#x":"#A \"1\"","n":5}"##,
        ),
        ("a.csv", "#x;_id;n\r\n\r\n#A;1;bad\r\n", ("bad", "5"), 0, r##"{"_id":1,"#x":"#A","n":5}"##),
        (
            "a.csv",
            "n,_id,#x\n#,1,\"#A\n#B\"\nbad,2,b\n",
            ("\"#\"", "5"),
            1,
            r##"{"_id":1,"n":5,"#x":"#A\n#B"}"##,
        ),
        ("a.csv", "#x\n#A\n", ("", ""), 1, ""),
        ("a.ndjson", "#{\"_id\":1}\n#\n", ("#{", "{"), 1, r#"{"_id":1}"#),
        ("a.json", "[#{\"_id\":1}, #]", ("#{", "{"), 1, r#"{"_id":1}"#),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (file, rejects) = (folder.path().join(name), folder.path().join(format!("{name}.rejects")));
        fs::write(&file, content).unwrap();
        let schema = Schema::new("things", IdType::Int)
            .field(Field::new("#x", FieldType::String))
            .field(Field::new("n", FieldType::Int));
        let things = Database::sqlite_in_memory().await.unwrap().collection(schema).build().unwrap();
        run(&args(&file), &things).await.unwrap();
        let kept = fs::read_to_string(&rejects).unwrap();
        fs::write(&rejects, kept.replace(mend.0, mend.1)).unwrap();
        let outcome = run(&args(&rejects), &things).await.unwrap();
        let imported = u64::from(!document.is_empty());
        assert_eq!((outcome.imported, outcome.rejected), (imported, left), "{content}\n{kept}");
        let found = things.get(&Id::Int(1)).await.unwrap().map(|found| found.json().clone());
        assert_eq!(found.unwrap_or_default(), document, "{content}\n{kept}");
    }
}

#[tokio::test]
async fn a_reject_file_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let things = things().await;
    fs::write(path("things.csv"), "_id,name\n1,a\n2,\n").unwrap();
    let outcome = run(&args(&path("things.csv")), &things).await.unwrap();
    assert_eq!((outcome.rejected, &outcome.rejects), (1, &path("things.csv.rejects")));
    fs::write(path("things.csv.rejects"), "_id,name\n2,mended\n").unwrap();
    // The first document is there by now, and the second one is as it was.
    for number in [2, 3] {
        let outcome = run(&args(&path("things.csv")), &things).await.unwrap();
        assert_eq!((outcome.rejected, outcome.rejects), (2, path(&format!("things.csv.{number}.rejects"))));
    }
    assert_eq!(fs::read_to_string(path("things.csv.rejects")).unwrap(), "_id,name\n2,mended\n");
    let outcome = run(&args(&path("things.csv.rejects")), &things).await.unwrap();
    assert_eq!((outcome.imported, outcome.rejected), (1, 0));
    // A numbered one is a table as well, and so is what is rejected of it.
    let numbered = fs::read_to_string(path("things.csv.2.rejects")).unwrap();
    fs::write(path("things.csv.2.rejects"), numbered.replace("1,a", "3,c")).unwrap();
    let outcome = run(&args(&path("things.csv.2.rejects")), &things).await.unwrap();
    assert_eq!((outcome.imported, outcome.rejected), (1, 1));
    fs::write(path("things.csv.2.rejects.rejects"), "_id,name\n4,d\n").unwrap();
    let outcome = run(&args(&path("things.csv.2.rejects.rejects")), &things).await.unwrap();
    assert_eq!((outcome.imported, outcome.rejected), (1, 0));
}

#[tokio::test]
async fn a_column_that_is_not_declared_stops_the_import_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.csv");
    fs::write(&file, "_id,nmae\n1,a\n").unwrap();
    let error = run(&args(&file), &things().await).await.unwrap_err();
    assert_eq!(error.kind(), larder::ErrorKind::Config);
    assert!(error.to_string().contains("`nmae`"), "{error}");
}

#[tokio::test]
async fn an_upsert_replaces_and_a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.ndjson");
    fs::write(&file, "{\"_id\":1,\"name\":\"new\"}\n{\"_id\":2,\"name\":\"b\"}\n").unwrap();
    let things = things().await;
    things.insert(bson::doc! { "_id": 1_i64, "name": "old" }).await.unwrap();

    let dry = run(&ImportArgs { dry_run: true, ..args(&file) }, &things).await.unwrap();
    assert_eq!((dry.imported, things.count(&Filter::All).await.unwrap()), (2, 1));
    let upserted = run(&ImportArgs { upsert: true, ..args(&file) }, &things).await.unwrap();
    assert_eq!((upserted.imported, upserted.rejected), (2, 0));
    assert_eq!(things.get(&Id::Int(1)).await.unwrap().unwrap().json(), r#"{"_id":1,"name":"new"}"#);
}

#[tokio::test]
async fn a_stream_without_a_name_is_imported() {
    let things = things().await;
    let args = args(Path::new("-"));
    let input = Input::new(Box::new(Cursor::new("[{\"_id\":1,\"name\":\"a\"}]")), None, &args).unwrap();
    assert_eq!(import(&args, &things, input).await.unwrap().imported, 1);
}

#[tokio::test]
async fn a_database_that_fails_stops_the_import_and_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.ndjson");
    let lines: String = (0..5_000).map(|id| format!("{{\"_id\":{id},\"name\":\"a\"}}\n")).collect();
    fs::write(&file, lines).unwrap();
    let database = Database::sqlite_in_memory().await.unwrap().with_deadline(std::time::Duration::ZERO);
    let error = run(&args(&file), &database.collection(schema()).build().unwrap()).await.unwrap_err();
    assert!(error.to_string().starts_with("stopped after "), "{error}");
}

#[tokio::test]
async fn another_field_becomes_the_id_and_a_record_without_it_is_rejected_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("things.ndjson", "{\"name\":\"a\",\"sku\":1}\n{\"name\":\"b\"}\n{\"sku\":3,\"name\":\"c\"}\n"),
        ("things.json", r#"[{"name":"a","sku":1},{"name":"b"},{"sku":3,"name":"c"}]"#),
        ("things.csv", "name,sku\na,1\nb,\nc,3\n"),
    ] {
        let things = things().await;
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        for upsert in [false, true] {
            let outcome =
                run(&ImportArgs { id: Some("sku".into()), upsert, ..args(&file) }, &things).await.unwrap();
            assert_eq!((outcome.imported, outcome.rejected), (2, 1), "{name}");
            let rejects = fs::read_to_string(&outcome.rejects).unwrap();
            let number = if name.ends_with("csv") { 3 } else { 2 };
            assert!(rejects.contains(&format!(" {number}: sku: is missing")), "{rejects}");
        }
        assert_eq!(things.count(&Filter::All).await.unwrap(), 2);
        assert_eq!(
            things.get(&Id::Int(3)).await.unwrap().unwrap().json(),
            r#"{"_id":3,"name":"c"}"#,
            "{name}"
        );
    }
}

#[tokio::test]
async fn documents_without_an_id_are_not_replaced_by_others_like_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.ndjson");
    fs::write(&file, "{\"_id\":\"0123456789abcdef01234567\",\"sku\":\"A-1\"}\n\n{\"sku\":\"A-2\"}\n")
        .unwrap();
    let schema = Schema::new("things", IdType::ObjectId).field(Field::new("sku", FieldType::String));
    let things = Database::sqlite_in_memory().await.unwrap().collection(schema).build().unwrap();
    let error = run(&ImportArgs { upsert: true, ..args(&file) }, &things).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("line 3 has no _id") && said.contains("--id FIELD"), "{said}");
    assert_eq!(things.count(&Filter::All).await.unwrap(), 0, "nothing was written");
    // Each is a new one, as is said.
    assert_eq!(run(&args(&file), &things).await.unwrap().imported, 2);
}

#[test]
fn a_declaration_goes_by_the_field_that_is_the_id_and_suggests_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.ndjson");
    let declared = |content: &str, id: Option<&str>| {
        fs::write(&file, content).unwrap();
        declare(&ImportArgs { id: id.map(str::to_owned), ..args(&file) }).unwrap()
    };
    let suggestion = "Begin with `--id id`";
    let unique = "{\"id\":\"A-1\",\"n\":1}\n{\"id\":\"A-2\",\"n\":1}\n";
    let text = declared(unique, None);
    assert!(text.contains(suggestion) && text.contains("id = \"objectId\""), "{text}");
    let text = declared(unique, Some("id"));
    assert!(text.contains("things.ndjson --id id\n") && text.contains("\nid = \"string\"\n"), "{text}");
    assert!(!text.contains(suggestion) && !text.contains("path = \"id\""), "{text}");
    for other in ["{\"id\":1}\n{\"id\":1}", "{\"id\":1}\n{\"n\":1}", "{\"_id\":1,\"id\":1}"] {
        assert!(!declared(other, None).contains(suggestion), "{other}");
    }
}

#[test]
fn a_declaration_is_made_from_the_documents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.json");
    let content = r#"[{"_id":1,"name":"a","price":1,"at":"2025-01-02T03:04:05Z","maker":{"name":"M"},"parts":[{"n":1}]},
        {"_id":2,"name":"b","price":1.5,"odd":1}, {"_id":3,"name":"c","odd":"x"}]"#;
    fs::write(&file, content).unwrap();
    let text = declare(&args(&file)).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let collection = &table["collection"][0];
    assert_eq!((collection["name"].as_str(), collection["id"].as_str()), (Some("things"), Some("int")));
    let fields = collection["field"].as_array().unwrap().iter();
    let types: Vec<_> =
        fields.map(|field| (field["path"].as_str().unwrap(), field["type"].as_str().unwrap())).collect();
    let expected = [
        ("at", "date"),
        ("maker", "object"),
        ("maker.name", "string"),
        ("name", "string"),
        ("odd", "any"),
        ("parts", "array<object>"),
        ("parts.n", "int"),
        ("price", "double"),
    ];
    assert_eq!(types, expected);
}

#[test]
fn a_field_that_is_null_somewhere_is_not_declared_as_required() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.json");
    let content = r#"[{"_id":1,"a":null,"b":1,"c":1},{"_id":2,"a":5,"b":null,"c":2}]"#;
    fs::write(&file, content).unwrap();
    let table: toml::Table = declare(&args(&file)).unwrap().parse().unwrap();
    let fields = table["collection"][0]["field"].as_array().unwrap();
    let required = fields.iter().filter(|field| field.get("required").is_some());
    assert_eq!(required.map(|field| field["path"].as_str().unwrap()).collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_name_that_no_collection_can_have_is_refused_before_the_file_is_looked_at() {
    let args = ImportArgs { collection: "bad name".into(), ..args(Path::new("nowhere.json")) };
    let error = declare(&args).unwrap_err().to_string();
    assert!(error.starts_with("COLLECTION: \"bad name\" must be 1 to 64 letters"), "{error}");
}

#[tokio::test]
async fn a_table_is_declared_with_its_empty_columns_and_its_nulls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("things.csv");
    fs::write(&file, "_id,price,at,maker.name,maker.town\n1,7,2025-01-02T03:04:05Z,,\n2,null,null,,\n")
        .unwrap();
    let text = declare(&args(&file)).unwrap();
    for (path, kind) in
        [("price", "int"), ("at", "date"), ("maker", "object"), ("maker.name", "any"), ("maker.town", "any")]
    {
        assert!(text.contains(&format!("path = \"{path}\"\ntype = \"{kind}\"\n")), "{path}: {text}");
    }
    assert!(!text.contains("required"), "{text}");
    let config = crate::config::parse("declared", &text, &BTreeMap::new()).unwrap();
    let schema = config.collections[0].schema.clone();
    let things = Database::sqlite_in_memory().await.unwrap().collection(schema).build().unwrap();
    assert_eq!(run(&args(&file), &things).await.unwrap().imported, 2);
    assert_eq!(things.get(&Id::Int(2)).await.unwrap().unwrap().json(), r#"{"_id":2,"price":null,"at":null}"#);
}
