//! The other commands, and configurations that are wrong.

use std::{fs, process::Output};

use larder_testkit::redis::{Options, Server};
use tempfile::TempDir;

use crate::larder::run;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command with this configuration.
pub(crate) fn run_with(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("larder.toml");
    fs::write(&path, config).expect("the folder can be written to");
    let path = path.to_str().expect("UTF-8");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    run(&[arguments, &["--config", path, "--data", data]].concat(), environment)
}

#[test]
fn a_typing_error_stops_the_start_and_names_the_nearest_key() {
    let output = run_with("[redis]\nurll = \"redis://localhost\"\n[cache]\nttl = 5", &["serve"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("2 problems"), "{said}");
    assert!(said.contains("line 2: redis.urll: unknown key; did you mean \"url\"?"), "{said}");
    assert!(said.contains("line 4: cache.ttl: must be text in quotes"), "{said}");
}

#[test]
fn an_open_server_does_not_listen_to_other_machines() {
    let output = run(&["--listen", "0.0.0.0:0"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
}

#[test]
fn the_sample_shop_does_not_listen_to_other_machines_and_says_which_setting_asks_for_it() {
    for (arguments, environment, heading) in [
        (
            &["--listen", "0.0.0.0:0"][..],
            &[][..],
            "command line: 1 problem\n  --listen: the sample shop is open",
        ),
        (
            &[],
            &[("LARDER_LISTEN", "0.0.0.0:0")],
            "environment: 1 problem\n  LARDER_LISTEN: the sample shop is open",
        ),
    ] {
        let output = run(arguments, environment);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains(heading) && said.contains("larder config > larder.toml"), "{said}");
    }
}

#[test]
fn an_unknown_variable_is_refused() {
    let output = run(&["check"], &[("LARDER_REDIS__URLS", "redis://localhost")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean LARDER_REDIS__URL?"), "{}", stderr(&output));
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let output = run(&["--config", "/nowhere/larder.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/larder.toml"), "{}", stderr(&output));
}

#[test]
fn a_file_that_a_setting_names_and_that_cannot_be_read_is_told_with_its_setting() {
    let redis = "[redis]\nurl = \"rediss://127.0.0.1:1\"\n";
    let pair = "certificate_file = \"larder-nowhere.pem\"\nkey_file = \"larder-nowhere.pem\"";
    let jwt = "[jwt]\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = [\"RS256\"]\n";
    for (config, setting) in [
        (format!("auth.open = true\n{redis}ca_file = \"larder-nowhere.pem\""), "redis.ca_file"),
        (format!("auth.open = true\n{redis}{pair}"), "redis.certificate_file"),
        (format!("{jwt}jwks_file = \"larder-nowhere.pem\""), "jwt.jwks_file"),
        (format!("{jwt}public_key_file = \"larder-nowhere.pem\""), "jwt.public_key_file"),
        (format!("{jwt}jwks_url = \"https://127.0.0.1:1\"\nca_file = \"larder-nowhere.pem\""), "jwt.ca_file"),
    ] {
        for command in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let output = run_with(&config, command, &[]);
            let said = stdout(&output) + &stderr(&output);
            let told = format!("{setting}: larder-nowhere.pem cannot be read (");
            assert!(said.contains(&told) && said.contains("name a file that this user may read"), "{said}");
            assert!(!said.contains("mend the URL"), "{said}");
            assert_eq!(output.status.code(), Some(2), "{said}");
        }
    }
}

#[test]
fn the_printed_configuration_can_be_started_from() {
    let printed = run(&["config"], &[]);
    assert!(printed.status.success());
    let output = run_with(&stdout(&printed), &["check"], &[]);
    assert_eq!(output.status.code(), Some(1), "no collection is declared: {}", stdout(&output));
}

#[test]
fn the_doctor_finds_the_embedded_parts_well() {
    let output = run_with(crate::ITEMS, &["check"], &[]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("sqlite") && said.contains("All is well."), "{said}");
}

#[test]
fn the_doctor_counts_in_words_that_fit() {
    let server = Server::start(&Options::default());
    let bare = "auth.open = true\n[[collection]]\nname = \"a\"\nid = \"int\"\n";
    let field = "field = [{ path = \"n\", type = \"int\", filter = true }]\n";
    for (config, indexes) in
        [(bare.to_owned(), "none is needed"), (format!("{bare}{field}"), "the one that is needed is there")]
    {
        let said = stdout(&run_with(&config, &["check", "--redis", &server.url()], &[]));
        assert!(said.contains(indexes) && said.contains(" 1 collection\n"), "{said}");
        assert!(said.contains(" one server, 1 primary\n"), "{said}");
        assert!(said.contains("its clock is this machine's, within 500 ms\n"), "{said}");
    }
}

#[test]
fn the_doctor_says_how_much_a_redis_has_evicted() {
    let server = Server::start(&Options::default());
    let said = || stdout(&run_with(crate::ITEMS, &["check", "--redis", &server.url()], &[]));
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    server.ask(&["SET", "a", "1"]);
    assert!(!said().contains("has evicted"), "{}", said());
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    // With nothing left to evict it refuses.
    server.ask(&["SET", "b", "1"]);
    assert!(said().contains("has evicted 1 key since it started; each costs a miss"), "{}", said());
}

#[test]
fn the_doctor_names_what_the_embedded_database_has_no_index_for() {
    for (config, effect) in [
        (crate::ITEMS.to_owned(), "such a list reads the whole collection"),
        (
            crate::ITEMS.replace("id = \"int\"", "id = \"int\"\nrequire_index = true"),
            "such a list is refused",
        ),
    ] {
        let said = stdout(&run_with(&config, &["check"], &[]));
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("indexes of items")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains("none for tags") && lines[0].contains(effect), "{said}");
    }
}

#[test]
fn what_only_looks_makes_nothing() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("larder.toml"), crate::ITEMS).expect("the folder can be written to");
    let lines: String = (0..12).map(|id| format!("{{\"_id\":{id}}}\n")).collect();
    fs::write(path("items.ndjson"), lines + "{\"_id\":99,\"name\":\"a\"}")
        .expect("the folder can be written to");
    let options = ["--config", &path("larder.toml"), "--data", &path("data")];
    let files = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();

    let output = run(&[&["check"], &options[..]].concat(), &[]);
    let said = stdout(&output);
    assert!(output.status.success() && said.contains("not there yet: the server makes it"), "{said}");
    assert_eq!(files(), before);
    let dry = ["import", "items", &path("items.ndjson"), "--dry-run"];
    let output = run(&[&dry[..], &options].concat(), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = stdout(&output);
    assert!(
        said.starts_with("1 documents could be imported") && said.contains("12 would be rejected"),
        "{said}"
    );
    assert!(stderr(&output).contains("--rejects FILE keeps them all"), "{}", stderr(&output));
    assert_eq!(files(), before);

    // Whoever names a file has it.
    let output = run(&[&dry[..], &["--rejects", &path("kept")], &options].concat(), &[]);
    assert!(stdout(&output).contains("12 rejected and kept in"), "{}", stdout(&output));
    assert_eq!(fs::read_to_string(path("kept")).unwrap().lines().count(), 24);
}

#[test]
fn the_doctor_tells_a_database_that_cannot_be_opened_from_a_redis_that_is_away() {
    let output = run_with(crate::ITEMS, &["check", "--redis", "redis://127.0.0.1:1"], &[]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer"), "{said}");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("the folder can be written to");
    let output = run(&["check", "--data", file.join("below").to_str().expect("UTF-8")], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stdout(&output).contains("FAIL"), "{}", stdout(&output));
}

#[test]
fn the_doctor_says_what_a_full_redis_does() {
    let server = Server::start(&Options::default());
    let options = ["check", "--redis", &server.url()];
    for (max_memory, policy, said, code) in [
        ("0", "allkeys-lfu", "maxmemory is not set", 1),
        ("100mb", "noeviction", "maxmemory with noeviction", 1),
        ("100mb", "allkeys-lfu", "evicts by allkeys-lfu", 0),
        ("100mb", "volatile-lru", "evicts by volatile-lru; every entry of Larder has an expiry", 0),
    ] {
        server.ask(&["CONFIG", "SET", "maxmemory", max_memory, "maxmemory-policy", policy]);
        let output = run_with(crate::ITEMS, &options, &[("LARDER_CURSOR_SECRET", "the same on all nodes")]);
        let printed = stdout(&output);
        assert!(printed.contains(&format!("{}: one server", server.url())), "{printed}");
        assert!(printed.contains(said), "{said}: {printed}");
        assert_eq!(output.status.code(), Some(code), "{said}: {printed}");
        assert!(printed.contains("its clock is this machine's, within"), "{printed}");
    }
}

#[test]
fn the_doctor_says_what_write_behind_needs_of_redis() {
    let server = Server::start(&Options::default());
    let options = ["check", "--write-behind", "--redis", &server.url()];
    for (policy, append_only, fsync, said, code) in [
        ("allkeys-lfu", "yes", "always", "evicts by allkeys-lfu, also what is pending", 2),
        ("noeviction", "no", "always", "keeps no append-only file", 1),
        ("noeviction", "yes", "no", "appendfsync no", 1),
        ("volatile-lru", "yes", "everysec", "the last second or two are lost when the machine ends", 0),
        ("noeviction", "yes", "always", "an append-only file with appendfsync always", 0),
    ] {
        server.ask(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", policy]);
        server.ask(&["CONFIG", "SET", "appendonly", append_only, "appendfsync", fsync]);
        let output = run_with(crate::ITEMS, &options, &[("LARDER_CURSOR_SECRET", "the same on all nodes")]);
        let printed = stdout(&output);
        assert!(printed.contains(said), "{said}: {printed}");
        assert_eq!(output.status.code(), Some(code), "{said}: {printed}");
        assert!(!printed.contains("a cache needs none"), "{printed}");
    }
    let output = run_with(crate::ITEMS, &["check", "--write-behind"], &[]);
    assert!(stdout(&output).contains("set redis.url"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn passwords_are_not_shown() {
    let output =
        run_with(crate::ITEMS, &["check"], &[("LARDER_REDIS__URL", "redis://u:hunter2@127.0.0.1:1")]);
    assert!(!stdout(&output).contains("hunter2") && !stderr(&output).contains("hunter2"), "{output:?}");
    for (variable, scheme) in [("LARDER_REDIS__URL", "redis"), ("LARDER_MONGO__URL", "mongodb")] {
        for password in ["hunter/2", "hunter?2", "hunter#2", "hunter@2", "hunter%2", "2/hunter", "2?hunter"] {
            let url = format!("{scheme}://u:{password}@127.0.0.1:1/0");
            let output = run_with(crate::ITEMS, &["check"], &[(variable, &url)]);
            let said = stdout(&output) + &stderr(&output);
            assert!(said.contains(&format!("{scheme}://")), "{said}");
            assert!(!said.contains("hunter"), "{url}: {said}");
        }
    }
}

#[test]
fn a_file_can_be_imported_and_is_served() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("items.ndjson");
    fs::write(&file, "{\"_id\":1,\"name\":\"a\"}\n{\"_id\":2}\n").expect("the folder can be written to");
    let output = run_with(crate::ITEMS, &["import", "items", file.to_str().expect("UTF-8")], &[]);
    assert_eq!(output.status.code(), Some(1), "one was rejected: {output:?}");
    assert!(stdout(&output).contains("1 documents imported"), "{}", stdout(&output));
    let output = run_with(crate::ITEMS, &["import", "itmes", file.to_str().expect("UTF-8")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean \"items\"?"), "{}", stderr(&output));
}

#[tokio::test]
async fn an_embedded_database_belongs_to_one_process_at_a_time() {
    let larder = crate::items().await;
    let folder = larder.folder().to_owned();
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(folder.join("items.ndjson"), "{\"_id\":1,\"name\":\"a\"}\n")
        .expect("the folder can be written to");
    let options = ["--config", &path("larder.toml"), "--data", &path("data")];
    for command in [vec!["import", "items", &path("items.ndjson")], vec!["serve", "--listen", "127.0.0.1:0"]]
    {
        let output = run(&[command.as_slice(), options.as_slice()].concat(), &[]);
        assert!(!output.status.success());
        assert!(stderr(&output).contains("is in use by another larder"), "{}", stderr(&output));
    }
    assert_eq!(run(&[["check"].as_slice(), options.as_slice()].concat(), &[]).status.code(), Some(0));
    larder.stop().await;
}
