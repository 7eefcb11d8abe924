//! Processes that are killed at every step. The database and the cache are in one Redis or one cluster, which stays.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Cache, Error, ErrorKind, Result,
    cache::{Replayed, WriteBehind},
    source::{Sink, Write},
};
use larder_testkit::{
    eventually,
    redis::{Reply, ask},
    signal,
};
use tokio::sync::Notify;

use super::{faults::connected, versioned::unversioned};
use crate::{
    child::{self, Killed, SIGABRT, SIGKILL, say},
    setup::{Backend, Setup, lasting},
};

const KEYS: u64 = 5;
/// Many processes at once may make the machine slow; those that die have no need to hear of it.
const PATIENCE: Duration = Duration::from_secs(5);
const CHOOSY: &str = "choosy";

/// A hash in Redis, and beside each row its version, removed rows included. Kills its own process when it is told to.
pub(super) struct Rows {
    url: String,
    name: String,
    dies: Option<(Step, u64)>,
    /// Whether it takes everything, or refuses some values for good.
    pub(super) choosy: bool,
    applied: AtomicU64,
    /// Rung when a process that is to freeze has written all it will write.
    written: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Before,
    Between,
    After,
    /// Before, by SIGSTOP; it may be woken.
    Freeze,
}

const UPSERT: &str = "if tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) < tonumber(ARGV[3]) then \
                      redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) \
                      if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) \
                      else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end \
                      else redis.call('HINCRBY', KEYS[2], 'late', 1) end return 1";

impl Rows {
    /// At the nth batch, or the first one after it that comes to this step.
    fn die_at(&self, step: Step, nth: u64) {
        if self.dies.is_some_and(|(at, first)| at == step && nth >= first) {
            // As hard as SIGKILL: nothing is flushed, nothing is dropped.
            std::process::abort();
        }
    }

    fn upsert(&self, key: &str, value: &str, version: u64) -> Result<()> {
        let rows = rows(&self.name);
        let versions = format!("{rows}:versions");
        let command = ["EVAL", UPSERT, "2", &rows, &versions, key, value, &version.to_string()];
        // Once begun it is sent, also if the call is given up or the program ends meanwhile.
        match tokio::task::block_in_place(|| ask(&self.url, &command)) {
            Reply::Error(error) => Err(Error::new(ErrorKind::Source, error)),
            _ => Ok(()),
        }
    }
}

impl Sink<String, u64> for Rows {
    async fn put(&self, _key: &String, _value: &u64) -> Result<()> {
        unversioned()
    }

    async fn remove(&self, _key: &String) -> Result<()> {
        unversioned()
    }

    async fn apply(&self, writes: &[Write<String, u64>]) -> Vec<Result<()>> {
        let nth = self.applied.fetch_add(1, SeqCst);
        self.die_at(Step::Before, nth);
        if self.dies == Some((Step::Freeze, nth)) {
            self.written.notified().await;
            assert!(signal("STOP", std::process::id()));
        }
        let mut outcomes = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            if at > 0 {
                self.die_at(Step::Between, nth);
            }
            if self.choosy && is_refused(write.value) {
                outcomes.push(Err(Error::new(ErrorKind::Source, "the rows do not take this")));
                continue;
            }
            let value = write.value.map_or_else(String::new, |value| value.to_string());
            outcomes.push(self.upsert(&write.key, &value, write.version));
        }
        self.die_at(Step::After, nth);
        outcomes
    }
}

/// The rows of one test, which never end a process.
pub(super) fn lasting_rows(url: &str, name: &str) -> Rows {
    let (applied, written) = (AtomicU64::new(0), Arc::default());
    Rows { url: url.into(), name: name.into(), dies: None, choosy: false, applied, written }
}

async fn writer(url: &str, name: &str) -> Cache<String, u64> {
    writer_to(lasting_rows(url, name)).await
}

pub(super) async fn writer_to(rows: Rows) -> Cache<String, u64> {
    let redis = connected(&rows.url, PATIENCE).await;
    let name = rows.name.clone();
    let settings =
        WriteBehind::default().max_delay(Duration::from_millis(3)).lease(Duration::from_millis(400));
    // What is refused is a dead letter at once: soon there is a later write.
    let settings = if rows.choosy { settings.attempts(1) } else { settings };
    let builder = Cache::builder(name).policy(lasting()).redis(&redis).sink(rows);
    // One shard, so that batches have several keys.
    builder.shards(std::num::NonZeroU16::MIN).write_behind(settings).build().unwrap()
}

/// Not a test of its own: the process that is killed. Without a job there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_for_the_crash_tests() {
    let Some(job) = child::job() else { return };
    let mut words = job.split(' ');
    let mut word = || words.next().expect("a job has six words").to_owned();
    let (url, name, first, step, nth, sink) = (word(), word(), word(), word(), word(), word());
    let first: u64 = first.parse().unwrap();
    let step = match &*step {
        "before" => Some(Step::Before),
        "between" => Some(Step::Between),
        "after" => Some(Step::After),
        "freeze" => Some(Step::Freeze),
        _ => None,
    };
    let written = Arc::new(Notify::new());
    let dies = step.map(|step| (step, nth.parse().unwrap()));
    let choosy = sink == CHOOSY;
    let rows = Rows { dies, choosy, written: written.clone(), ..lasting_rows(&url, &name) };
    let cache = writer_to(rows).await;
    let end = match step {
        None => first + 3_000,
        Some(Step::Freeze) => first + 2 * KEYS,
        // It dies, or the test that started it does: then nobody hears what it says.
        Some(_) => u64::MAX,
    };
    for n in first..end {
        write(&cache, n).await;
        if choosy {
            // Otherwise the next write to the key would take the place of most that are refused.
            cache.behind().unwrap().flush().await.unwrap();
        }
    }
    // If nobody has killed it by now, it is to freeze, or the test that started it has gone.
    written.notify_one();
    eventually("everything is carried out", Duration::from_secs(30), || async {
        // What was asked before it froze has timed out.
        cache.behind().unwrap().flush().await.is_ok()
    })
    .await;
}

/// The nth write, and what [`History`] is told of it.
pub(super) async fn write(cache: &Cache<String, u64>, n: u64) {
    let key = (n % KEYS).to_string();
    say(&format!("tries {n}"));
    let put = if is_removal(n) { cache.remove(&key).await } else { cache.put(&key, &n).await };
    put.unwrap();
    say(&format!("acked {n}"));
}

fn is_removal(n: u64) -> bool {
    n % 7 == 3
}

/// What the rows of a job refuse if they are choosy.
fn is_refused(value: Option<u64>) -> bool {
    value.is_some_and(|n| n % 4 == 1)
}

fn child(url: &str, name: &str, first: u64, step: &str, nth: u64, sink: &str) -> Killed {
    let job = format!("{url} {name} {first} {step} {nth} {sink}");
    child::start("behind::crash::a_writer_for_the_crash_tests", &job)
}

/// The key of the rows; that of their versions is on the same server of a cluster.
fn rows(name: &str) -> String {
    format!("{{rows:{name}}}")
}

/// Redis alone, and a cluster of three.
fn urls() -> [String; 2] {
    [larder_testkit::redis::single(), larder_testkit::redis::cluster()]
}

fn row(url: &str, name: &str, key: u64) -> Option<u64> {
    ask(url, &["HGET", &rows(name), &key.to_string()]).text()?.parse().ok()
}

/// What was tried, and what of it was acknowledged.
#[derive(Default)]
pub(super) struct History {
    next: u64,
    pub(super) acked: u64,
    /// For each key what its row may be: the last acknowledged write, and those after it of which nothing is known.
    possible: BTreeMap<u64, Vec<Option<u64>>>,
    /// Whether the processes' rows refuse some values.
    choosy: bool,
    /// How many dead letters were found.
    pub(super) letters: usize,
}

impl History {
    /// Of processes whose rows refuse some values.
    pub(super) fn choosy() -> Self {
        Self { choosy: true, ..Self::default() }
    }

    /// Lets a process write until it has had `most` acknowledgements, and kills it.
    fn run_until_killed(&mut self, url: &str, name: &str, most: u64) {
        let ended = self.run(url, name, ("-", 0), Some(most));
        assert_eq!(ended.signal(), Some(SIGKILL), "{ended}");
    }

    /// Lets a process write until it ends itself at a step.
    fn run_until_it_dies(&mut self, url: &str, name: &str, step: &str, nth: u64) {
        let ended = self.run(url, name, (step, nth), None);
        assert_eq!(
            ended.signal(),
            Some(SIGABRT),
            "{step} {nth}: it did not come to where it was to die: {ended}"
        );
    }

    fn run(&mut self, url: &str, name: &str, (step, nth): (&str, u64), most: Option<u64>) -> ExitStatus {
        let (sink, first) = (if self.choosy { CHOOSY } else { "-" }, self.next);
        let ended = self.follow(child(url, name, first, step, nth, sink), most);
        // It may have died before it heard of the first acknowledgement.
        assert!(self.next > first, "the process wrote nothing");
        ended
    }

    /// Notes what a process says until its end, or until it has had `most` acknowledgements and is killed.
    pub(super) fn follow(&mut self, mut child: Killed, most: Option<u64>) -> ExitStatus {
        let output = child.0.stdout.take().unwrap();
        let mut acked = 0;
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            let Some((what, n)) = line.split_once(' ') else { continue };
            let Ok(n) = n.parse::<u64>() else { continue };
            let value = (!is_removal(n)).then_some(n);
            let possible = self.possible.entry(n % KEYS).or_insert_with(|| vec![None]);
            match what {
                "tries" => possible.push(value),
                "acked" => {
                    *possible = vec![value];
                    acked += 1;
                    self.acked += 1;
                }
                _ => continue,
            }
            self.next = n + 1;
            if most.is_some_and(|most| acked >= most) {
                // What it had written until then is still read.
                child.0.kill().unwrap();
            }
        }
        child.0.wait().unwrap()
    }

    pub(super) async fn check(&mut self, url: &str, name: &str) {
        let survivor = writer(url, name).await;
        let behind = survivor.behind().unwrap();
        behind.flush().await.unwrap();
        let letters = behind.dead_letters(KEYS as usize).await.unwrap();
        assert!(self.choosy || letters.is_empty(), "{letters:?}");
        self.letters += letters.len();
        for letter in letters {
            let read =
                survivor.get_with(&*letter.key, || async { Ok(None) }).await.unwrap().as_deref().copied();
            assert!(is_refused(read), "{letter:?} stands for what was refused, and {read:?} is read");
            // What is in the letter must be what the row may be.
            assert_eq!(behind.replay(&letter.key).await.unwrap(), Replayed::Pending);
        }
        behind.flush().await.unwrap();
        // Otherwise its workers would take part in what comes next.
        survivor.close().await;
        for (key, possible) in &self.possible {
            let row = row(url, name, *key);
            assert!(possible.contains(&row), "{key} is {row:?} and may be one of {possible:?}");
        }
    }
}

/// A process that is suspended for longer than its lease, between reading a batch and writing it, and then goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_frozen_past_its_lease_does_not_undo_what_another_has_written() {
    for url in urls() {
        let name = Setup::new(Backend::Redis).name;
        let mut frozen = child(&url, &name, 0, "freeze", 0, "-");
        let state = format!("/proc/{}/stat", frozen.0.id());
        eventually("it stands still", Duration::from_secs(20), || async {
            std::fs::read_to_string(&state).is_ok_and(|state| state.contains(") T "))
        })
        .await;

        let survivor = writer(&url, &name).await;
        for n in 0..KEYS {
            survivor.put(&n.to_string(), &(100 + n)).await.unwrap();
        }
        survivor.behind().unwrap().flush().await.unwrap();

        assert!(signal("CONT", frozen.0.id()));
        assert!(frozen.0.wait().unwrap().success(), "it went on and ended by itself");
        for n in 0..KEYS {
            assert_eq!(row(&url, &name, n), Some(100 + n));
        }
        let late = ask(&url, &["HGET", &format!("{}:versions", rows(&name)), "late"]);
        assert!(late.text().is_some(), "what it had read was sent, and was too late");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_writes_loses_nothing_that_was_acknowledged() {
    for url in urls() {
        let name = Setup::new(Backend::Redis).name;
        let mut history = History::default();
        for round in 0..10 {
            history.run_until_killed(&url, &name, 1 + round * 17 % 60);
            if round % 3 == 0 {
                history.check(&url, &name).await;
            }
        }
        history.check(&url, &name).await;
        assert!(history.acked > 0, "nothing was ever acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_step_of_a_batch_loses_nothing_that_was_acknowledged() {
    for url in urls() {
        let name = Setup::new(Backend::Redis).name;
        let mut history = History::default();
        for step in ["before", "between", "after"] {
            for nth in [0, 1, 4] {
                history.run_until_it_dies(&url, &name, step, nth);
                history.check(&url, &name).await;
            }
        }
        assert!(history.acked > 0, "nothing was ever acknowledged");
    }
}

/// After a refusal and before the letter, or after the letter and before what comes next.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_around_a_dead_letter_leaves_a_row_or_a_letter_with_what_was_acknowledged_last() {
    for url in urls() {
        let name = Setup::new(Backend::Redis).name;
        let mut history = History::choosy();
        for step in ["before", "after"] {
            for nth in [1, 2, 3, 5, 8] {
                history.run_until_it_dies(&url, &name, step, nth);
                history.check(&url, &name).await;
            }
        }
        for round in 0..5 {
            history.run_until_killed(&url, &name, 5 + round * 17 % 60);
            history.check(&url, &name).await;
        }
        assert!(history.acked > 0, "nothing was ever acknowledged");
        assert!(history.letters > 0, "nothing was ever refused");
    }
}
