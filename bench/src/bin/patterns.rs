//! The patterns side by side: the same reads and writes, on two nodes over one Redis and one slow database.
//!
//! usage: `patterns quick|full REDIS_URL …`; prints `part,name,value,unit` lines.
//!
//! Operations come by schedule, not one after another; a tenth of the writes are made past the cache by "another program", as in
//! real life, and only an expiry shows them. A read is stale if a write that was acknowledged before it began is not in its
//! answer; its age is the time since that acknowledgement.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use larder::redis::Redis;
use larder_bench::patterns::{
    database::Database,
    node::{ALL, Node, Pattern},
    report::{Outcome, print},
    traffic::{self, Traffic},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let full = arguments.first().is_some_and(|mode| mode == "full");
    let url = arguments.get(1).ok_or("a Redis URL is missing")?.as_str();
    let (rounds, lasts) = if full { (3, Duration::from_secs(12)) } else { (1, Duration::from_secs(3)) };
    let traffic = Arc::new(Traffic::new(lasts));
    let mut outcomes: BTreeMap<usize, Vec<Outcome>> = BTreeMap::new();
    // In turn within each round, so that a slow minute of the machine falls on all of them, and each round begins with another
    // one, so that the process's own first seconds do too.
    for round in 0..rounds {
        for row in (0..ALL.len()).map(|turn| (turn + round * 2) % ALL.len()) {
            outcomes.entry(row).or_default().push(one_round(ALL[row], round, url, &traffic).await?);
        }
    }
    for (row, outcomes) in outcomes {
        print(ALL[row].name(), &outcomes);
    }
    Ok(())
}

async fn one_round(
    pattern: Pattern,
    round: usize,
    url: &str,
    traffic: &Arc<Traffic>,
) -> Result<Outcome, Box<dyn Error>> {
    let database = Database::new();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let redis = Redis::connect(url).await?;
        let space = format!("patterns-{}-{round}", pattern.slug());
        nodes.push(Arc::new(Node::new(pattern, &redis, &space, &database)?));
    }
    let began = Instant::now();
    let seen = traffic::run(traffic, &nodes, &database).await?;
    let took = began.elapsed();
    for node in &nodes {
        node.close().await;
    }
    Ok(Outcome::of(&seen, &database, took))
}
