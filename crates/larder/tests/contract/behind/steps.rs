//! Processes that are killed (SIGKILL) at every step that they take in Redis: before the server has seen it, and after the server has
//! carried it out, but before they hear of that. The rows are in the same servers, so that each write to the database is a step as well.

use std::{os::unix::process::ExitStatusExt, sync::Arc};

use larder_testkit::{
    proxy::{Fault, Front, Moment},
    redis::{Deployment, Options},
    signal,
};
use tokio::task::{JoinSet, spawn_blocking};

use super::crash::{History, lasting_rows, write, writer_to};
use crate::{
    child::{self, SIGKILL},
    setup::{Backend, Setup},
};

/// What one process writes, and when it flushes: several writes to a key in one batch and over several, removals, and what the rows
/// refuse, as the last word on its key and followed by another.
const BATCHES: [&[u64]; 3] = [&[0, 10, 1], &[6, 20, 2], &[17, 25]];
/// There are more: each write is acknowledged, and each batch is claimed, written to the rows, and struck off or buried.
const STEPS: u64 = 8 + 3 * 3;
/// So many processes run at the same time.
const AT_ONCE: u64 = 6;

/// Not a test of its own: the process that is killed. Without a job there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_stopped_at_a_step() {
    let Some(job) = child::job() else { return };
    let (url, name) = job.split_once(' ').expect("a job has two words");
    let mut rows = lasting_rows(url, name);
    rows.choosy = true;
    let cache = writer_to(rows).await;
    for batch in BATCHES {
        for n in batch {
            write(&cache, *n).await;
        }
        cache.behind().unwrap().flush().await.unwrap();
    }
    cache.close().await;
}

/// What became of one process.
struct Run {
    was_killed: bool,
    acked: u64,
    letters: usize,
}

/// Runs a process that is killed at a step, if it comes so far.
async fn run(deployment: Arc<Deployment>, moment: Moment, nth: u64) -> Run {
    let name = Setup::new(Backend::Redis).name;
    let front = Front::start(&deployment).await;
    front.set(Fault::StopAt(moment, nth));
    let job = format!("{} {name}", front.url());
    let child = child::start("behind::steps::a_writer_that_is_stopped_at_a_step", &job);
    let pid = child.0.id();
    let mut history = History::choosy();
    let mut following = spawn_blocking(move || (history.follow(child, None), history));
    let followed = tokio::select! {
        () = front.stopped() => {
            // It may have come to its end meanwhile, if the step was none of write-behind.
            let _ = signal("KILL", pid);
            following.await
        }
        followed = &mut following => followed,
    };
    let (ended, mut history) = followed.unwrap();
    // What was on its way ends with the process.
    drop(front);
    let was_killed = ended.signal() == Some(SIGKILL);
    assert!(was_killed || ended.success(), "{moment:?} {nth}: {ended}");
    history.check(&deployment.url(), &name).await;
    Run { was_killed, acked: history.acked, letters: history.letters }
}

/// Goes on until several processes in a row have come to their end, and returns how many have not.
async fn scan(deployment: Deployment, moment: Moment) -> u64 {
    let deployment = Arc::new(deployment);
    let (mut killed, mut acked, mut letters) = (0, 0, 0);
    for first in (0..).step_by(AT_ONCE as usize) {
        let mut runs = JoinSet::new();
        for nth in first..first + AT_ONCE {
            runs.spawn(run(Arc::clone(&deployment), moment, nth));
        }
        let runs = runs.join_all().await;
        acked += runs.iter().map(|run| run.acked).sum::<u64>();
        letters += runs.iter().map(|run| run.letters).sum::<usize>();
        let killed_now = runs.iter().filter(|run| run.was_killed).count() as u64;
        killed += killed_now;
        if killed_now == 0 {
            break;
        }
    }
    assert!(acked > killed, "{moment:?}: {killed} processes had {acked} acknowledgements");
    assert!(letters > 0, "{moment:?}: nothing was ever refused");
    killed
}

async fn scan_everywhere(moment: Moment) {
    for deployment in Deployment::each(&Options::default()) {
        let kind = deployment.kind();
        let killed = scan(deployment, moment).await;
        assert!(killed >= STEPS, "{kind}: {killed} steps are not all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_before_any_of_its_steps_loses_nothing_that_was_acknowledged() {
    scan_everywhere(Moment::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_after_any_of_its_steps_and_before_it_hears_of_it_loses_nothing_that_was_acknowledged()
 {
    scan_everywhere(Moment::After).await;
}
