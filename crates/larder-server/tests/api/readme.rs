//! The README and the pages it leads to: what they tell to type works, and shows what they say it shows.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    Larder,
    larder::{binary, run},
};

const README: &str = include_str!("../../../../README.md");
const HTTP: &str = include_str!("../../../../docs/http.md");
const PAGES: [&str; 5] = [
    README,
    HTTP,
    include_str!("../../../../docs/operating.md"),
    include_str!("../../../../docs/write-behind.md"),
    include_str!("../../../../docs/patterns.md"),
];

/// The blocks of code of this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("\n```{language}\n");
    let block = |rest: &str| rest.split_once("\n```").map(|(block, _)| block.to_owned());
    page.split(&fence).skip(1).filter_map(block).collect()
}

/// The commands that begin with this word, from blocks and from the text, without comments.
fn commands(page: &str, word: &str) -> Vec<String> {
    let in_text = page.split('`').skip(1).step_by(2).map(ToOwned::to_owned);
    let in_blocks = blocks(page, "sh").into_iter().flat_map(|block| {
        block
            .lines()
            .map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned())
            .collect::<Vec<_>>()
    });
    let mut found: Vec<String> = in_text.chain(in_blocks).filter(|line| line.starts_with(word)).collect();
    found.sort();
    found.dedup();
    found
}

/// Runs a line as a user does, against this server.
fn shell(line: &str, larder: &Larder) -> String {
    let version = Command::new("curl").arg("--version").output();
    assert!(version.is_ok(), "curl is not installed: apt-get install curl");
    let address = larder.url().trim_start_matches("http://");
    let line = line.replace("127.0.0.1:7300", address).replace("localhost:7300", address);
    let output = Command::new("sh").args(["-c", &line]).output().expect("a POSIX shell starts");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).expect("the answer is UTF-8").replace('\r', "")
}

/// The lines, with each number a 0: times differ from run to run.
fn shape(text: &str) -> Vec<String> {
    let shape = |line: &str| {
        let mut shape = line.replace(|c: char| c.is_ascii_digit(), "0");
        while shape.contains("00") {
            shape = shape.replace("00", "0");
        }
        shape
    };
    text.lines().map(shape).collect()
}

#[tokio::test]
async fn the_first_minute_shows_what_the_readme_says() {
    let minute = blocks(README, "sh");
    assert_eq!(minute[0], "cargo run --release");
    let workspace = include_str!("../../../../Cargo.toml");
    assert!(workspace.contains("default-members = [\"crates/larder-server\"]"), "it starts the server");
    let larder = Larder::start_in(TempDir::new().expect("a temporary folder"), &[]).await;

    let shown: Vec<&str> = minute[1].lines().filter_map(|line| line.strip_prefix("# ")).collect();
    assert_eq!(shown.len(), 2, "{}", minute[1]);
    assert_eq!(shape(&shell(&minute[1], &larder)), shape(&shown.join("\n")));
    for url in README.split(['<', '>']).filter_map(|part| part.strip_prefix("http://127.0.0.1:7300")) {
        assert_eq!(larder.get(url).await.status, 200, "{url}");
    }
    let lines = commands(HTTP, "curl");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let purged = shell(&lines[0], &larder);
    assert!(purged.contains(r#""tags":1"#), "{purged}");
    let page: serde_json::Value = serde_json::from_str(&shell(&lines[1], &larder)).expect("a page");
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2), "{page}");
    the_lists_of_the_page_find_something(&larder).await;

    // Again from a cold cache, as the server itself tells to.
    let larder = Larder::start_in(larder.stop().await, &[]).await;
    let greeting = larder.output();
    let line = greeting.lines().map(str::trim).find(|line| line.starts_with("curl ")).expect("a line to try");
    assert_eq!(shape(&shell(line, &larder)), shape(&shown.join("\n")), "{line}");
}

/// Asks for what the page shows of lists, in an address and in a body.
async fn the_lists_of_the_page_find_something(larder: &Larder) {
    let lists = HTTP.split('`').filter(|code| code.starts_with("/v1/products?") && !code.contains('…'));
    let lists: Vec<&str> = lists.collect();
    assert_eq!(lists.len(), 1, "{lists:?}");
    let bodies = blocks(HTTP, "json").into_iter().filter(|json| json.contains("\"filter\""));
    let bodies: Vec<String> = bodies.collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    for answer in [larder.get(lists[0]).await, larder.post("/v1/products/_search", &bodies[0]).await] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.json()["items"].as_array().is_some_and(|items| !items.is_empty()), "{answer:?}");
    }
}

#[test]
fn every_command_of_the_pages_is_one_that_the_program_knows() {
    let mut seen = 0;
    for command in PAGES.iter().flat_map(|page| commands(page, "larder ")) {
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        // What is wrong is complained of before help is given.
        let output = run(&[&arguments[..], &["--help"]].concat(), &[]);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
    let wrong = run(&["purge", "products", "--kye", "7", "--help"], &[]);
    assert_eq!(wrong.status.code(), Some(2), "a wrong option is told, help or not");
    for command in PAGES.iter().flat_map(|page| commands(page, "cargo run -p larder --example ")) {
        let name = command.rsplit(' ').next().expect("a command has words");
        let example = format!("{}/../larder/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        assert!(Path::new(&example).exists(), "{command}");
    }
}

#[test]
fn the_import_of_the_readme_prints_a_declaration() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("orders.json"), r#"[{"_id":1,"total":12}]"#).expect("it can be written to");
    let line = commands(README, "larder import");
    let arguments: Vec<&str> = line[0].split_whitespace().skip(1).collect();
    let output = Command::new(binary()).args(arguments).current_dir(folder.path()).output();
    let output = output.expect("the binary starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("[[collection]]"), "{output:?}");
    assert!(printed.contains("name = \"orders\"") && printed.contains("\"total\""), "{printed}");
}

mod library {
    //! The snippet of the README, compiled. It is not run: the Redis that it names is somebody's own.

    use std::future::ready;

    use serde::{Deserialize, Serialize};

    use super::{README, blocks};

    #[derive(Deserialize, Serialize)]
    struct User {
        org: u32,
    }

    async fn load_user(_id: &str) -> larder::Result<Option<User>> {
        ready(Ok(None)).await
    }

    async fn save_user(_id: &str, _changes: ()) -> larder::Result<()> {
        ready(Ok(())).await
    }

    #[rustfmt::skip]
    async fn snippet(changes: ()) -> larder::Result<()> {
// begin
use larder::{Cache, Policy, redis::Redis};
use std::time::Duration;

let redis = Redis::connect("redis://127.0.0.1").await?;
let users: Cache<String, User> = Cache::builder("users")
    .redis(&redis)                                   // leave it out, and the cache lives in this process
    .policy(Policy::ttl(Duration::from_secs(300)).stale_if_error(Duration::from_secs(3600)))
    .tags(|_, user: &User| vec![format!("org:{}", user.org)])
    .build()?;

let user = users.get_with("42", move || load_user("42")).await?;
let (saved, told) = users.guarded_write(&["42"], save_user("42", changes)).await?; // told: whether Redis knows, too
users.invalidate_tag("org:7").await?;
// end
        drop((user, saved, told));
        Ok(())
    }

    #[test]
    fn the_snippet_of_the_readme_is_the_one_that_is_compiled() {
        let (_, rest) = include_str!("readme.rs").split_once("// begin\n").expect("the snippet begins");
        let (compiled, _) = rest.split_once("\n// end").expect("the snippet ends");
        assert_eq!(blocks(README, "rust"), [compiled]);
        drop(snippet(()));
    }
}
