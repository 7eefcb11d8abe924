//! `larder behind`: dead letters of a cache that a program writes behind with, from its Redis alone.

use std::{
    collections::BTreeMap,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, Error, ErrorKind,
    cache::WriteBehind,
    redis::{Redis, RedisConfig},
    source::Sink,
};
use larder_testkit::{eventually, mongo, redis};

use crate::larder::{PATIENCE, run};

/// A table that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Table {
    open: Arc<AtomicBool>,
    rows: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Table {
    fn check(&self) -> larder::Result<()> {
        if self.open.load(SeqCst) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "the table takes nothing"))
    }

    fn row(&self, key: &str) -> Option<u32> {
        self.rows.lock().expect("nobody panicked").get(key).copied()
    }
}

impl Sink<String, u32> for Table {
    async fn put(&self, key: &String, value: &u32) -> larder::Result<()> {
        self.check()?;
        self.rows.lock().expect("nobody panicked").insert(key.clone(), *value);
        Ok(())
    }

    async fn remove(&self, key: &String) -> larder::Result<()> {
        self.check()?;
        self.rows.lock().expect("nobody panicked").remove(key);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_replayed_and_dropped_without_the_program() {
    for url in [redis::single(), redis::cluster()] {
        let (app, table) = (mongo::database_name(), Table::default());
        let redis = Redis::connect(RedisConfig::new(&*url).app(&app)).await.expect("the test server is up");
        let settings = WriteBehind::default().max_delay(Duration::from_millis(5)).attempts(1);
        let orders: Cache<String, u32> = Cache::builder("orders")
            .redis(&redis)
            .sink(table.clone())
            .write_behind(settings)
            .build()
            .expect("sound");
        let command = |order: &str, arguments: &[&str]| -> Output {
            let variables = [("LARDER_REDIS__URL", url.as_str()), ("LARDER_REDIS__APP", &app)];
            run(&[&["behind", order, "--cache", "orders"], arguments].concat(), &variables)
        };
        let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

        assert!(said(&command("list", &[])).contains("0 dead letters"));
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            orders.put(&key.to_owned(), &value).await.expect("Redis takes it");
        }
        orders.remove(&"d".to_owned()).await.expect("Redis takes it");
        eventually("all are dead letters", PATIENCE, || async {
            said(&command("list", &[])).contains("4 dead letters")
        })
        .await;
        let list = said(&command("list", &[]));
        for line in ["a    put", "d    remove"] {
            assert!(
                list.lines().any(|found| found.starts_with(line) && found.contains("takes nothing")),
                "{list}"
            );
        }

        let refused = command("drop", &["a"]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"), "{refused:?}");
        assert_eq!(said(&command("drop", &["a", "--yes"])).trim(), "a: dropped");
        table.open.store(true, SeqCst);
        assert_eq!(said(&command("replay", &["b"])).trim(), "b: pending again");
        eventually("the program carries it out", PATIENCE, || async { table.row("b") == Some(2) }).await;
        let again = command("replay", &["b"]);
        assert_eq!((again.status.code(), said(&again).trim()), (Some(1), "b: no dead letter"));
        assert!(command("replay", &["--all"]).status.success());
        eventually("the rest is carried out", PATIENCE, || async { table.row("c") == Some(3) }).await;
        eventually("nothing is left", PATIENCE, || async {
            said(&command("list", &[])).starts_with("orders: 0 pending, the oldest for 0s; 0 dead letters")
        })
        .await;
        assert_eq!(table.row("a"), None, "what was dropped stays so");
        orders.close().await;
    }
}

#[test]
fn an_order_that_cannot_be_carried_out_says_why() {
    for (arguments, code, says) in [
        (vec!["behind", "list", "--cache", "orders"], 2, "redis.url"),
        (vec!["behind", "replay", "--cache", "orders"], 2, "--all"),
        (vec!["behind", "list", "--cache", "or{ders", "--redis", &redis::single()], 2, "space"),
        (vec!["behind", "list", "--cache", "orders", "--redis", "redis://127.0.0.1:1"], 1, ""),
    ] {
        let output = run(&arguments, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
