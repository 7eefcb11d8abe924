//! `larder import`, as people run it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::larder::{Larder, binary, run};

/// A folder with the configuration of the items.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("larder.toml"), crate::ITEMS).expect("the folder can be written to");
    folder
}

fn import(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .args(["--config", "larder.toml", "--data", "data", "import", "items"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("stdin is piped").write_all(input).expect("the binary reads");
    child.wait_with_output().expect("the binary ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn what_comes_by_standard_input_is_served_afterwards() {
    let folder = folder();
    let table = "_id,name,price,size.width,sold\n1,cup,2.50,7,true\n2,,1,,\n3,bowl,,,maybe\n";
    let output = import(folder.path(), &["-"], table.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).starts_with("1 documents imported"), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(
        said.contains("line 3: name: is required") && said.contains("line 4: sold: must be true or false"),
        "{said}"
    );
    let rejects = fs::read_to_string(folder.path().join("stdin.rejects")).expect("rejects are kept");
    let expected = "_id,name,price,size.width,sold\n# line 3: name: is required\n2,,1,,\n\
                    # line 4: sold: must be true or false\n3,bowl,,,maybe\n";
    assert_eq!(rejects, expected);

    let config = folder.path().join("larder.toml");
    let config = config.to_str().expect("UTF-8").to_owned();
    let server = Larder::start_in(folder, &["--config", &config]).await;
    let item = server.get("/v1/items/1").await.json();
    assert_eq!(
        (item["price"]["$numberDecimal"].as_str(), item["size"]["width"].as_i64()),
        (Some("2.50"), Some(7))
    );
}

#[test]
fn a_clean_import_ends_with_0_and_leaves_no_reject_file() {
    let folder = folder();
    fs::write(folder.path().join("items.json"), r#"[{"_id":1,"name":"a"},{"_id":2,"name":"b"}]"#)
        .expect("written");
    assert_eq!(import(folder.path(), &["items.json"], b"").status.code(), Some(0));
    assert!(!folder.path().join("items.json.rejects").exists());
    // The same again: both ids are taken, unless they are to be replaced.
    assert_eq!(import(folder.path(), &["items.json"], b"").status.code(), Some(1));
    assert_eq!(import(folder.path(), &["items.json", "--upsert"], b"").status.code(), Some(0));
}

#[test]
fn what_cannot_be_imported_at_all_ends_with_2() {
    let folder = folder();
    fs::write(folder.path().join("items.txt"), "not JSON").expect("written");
    for (arguments, said) in [
        (&["nowhere.json"][..], "nowhere.json"),
        (&["-"][..], "the input is empty"),
        (&["items.txt", "--format", "json"][..], "a JSON array begins with `[`"),
    ] {
        let output = import(folder.path(), arguments, b"");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn a_collection_that_is_not_declared_is_told_with_the_way_to_declare_it() {
    let folder = folder();
    fs::write(folder.path().join("orders.json"), "[{}]").expect("written");
    for (options, place) in
        [(&[][..], "save it as larder.toml"), (&["--config", "larder.toml"], "add it to yours")]
    {
        let output = Command::new(binary())
            .args(options)
            .args(["import", "orders", "orders.json"])
            .current_dir(folder.path())
            .output()
            .expect("the binary starts");
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains("orders: is not a declared collection"), "{said}");
        assert!(said.contains("--declare instead prints a declaration") && said.contains(place), "{said}");
    }
}

#[test]
fn a_line_larger_than_the_memory_allowed_is_rejected_and_the_rest_imported() {
    let folder = folder();
    let path = folder.path().join("items.ndjson");
    let mut file = File::create(&path).expect("the folder can be written to");
    // Zeros that take no room on the disk, and are one line.
    file.write_all(b"{\"_id\":1,\"name\":\"a\"}\n").expect("written");
    file.set_len(3 << 30).expect("a sparse file");
    let mut file = File::options().append(true).open(&path).expect("the file is there");
    file.write_all(b"\n{\"_id\":2,\"name\":\"b\"}\n").expect("written");
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 2000000; exec \"$0\" --config larder.toml --data data import items items.ndjson",
        ])
        .arg(binary())
        .current_dir(folder.path())
        .output()
        .expect("a POSIX shell starts");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("2 documents imported"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("line 2: longer than"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_stranger_comes_from_a_file_to_a_server_with_what_is_printed() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("birds.json");
    fs::write(&path, r#"[{"name":"Wren","grams":9.5,"seen":{"at":"Fen"}},{"name":"Robin","grams":18}]"#)
        .expect("written");
    let file = path.to_str().expect("UTF-8").to_owned();
    let printed = run(&["import", "birds", &file, "--declare"], &[]);
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let config = folder.path().join("larder.toml");
    fs::write(&config, &printed.stdout).expect("written");
    let config = config.to_str().expect("UTF-8").to_owned();
    let data = folder.path().join("data");
    let imported =
        run(&["--config", &config, "--data", data.to_str().expect("UTF-8"), "import", "birds", &file], &[]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let server = Larder::start_in(folder, &["--config", &config]).await;
    let found = server.get("/v1/birds?grams=gt.10&fields=name").await.json();
    assert_eq!(found["items"][0]["name"], "Robin", "{found}");
}

#[test]
fn an_import_that_redis_was_not_told_of_says_so() {
    let folder = folder();
    let redis = larder_testkit::redis::Server::start(&larder_testkit::redis::Options::default());
    let url = redis.url();
    let row = |name: &str| format!("{{\"_id\":1,\"name\":\"{name}\"}}");
    let output = import(folder.path(), &["-", "--redis", &url], row("a").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    redis.freeze();
    let output = import(folder.path(), &["-", "--upsert", "--redis", &url], row("b").as_bytes());
    redis.thaw();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).starts_with("1 documents imported"), "it is done: {output:?}");
    assert!(text(&output.stderr).contains("run `larder purge items --all`"), "{output:?}");
}
