//! Write-behind against the synchronous write to the database: how long a writer waits, and how many writes become one.
//!
//! usage: `behind quick|full REDIS_URL …`; prints `part,name,value,unit` lines.
//!
//! The database is the MongoDB that the test kit finds: `LARDER_TEST_MONGO`, else `mongod`, else a server that stands in for it,
//! which the first line names. One writer makes the same write of a kilobyte both ways in turn, with a `PING` beside it. Then
//! several writers make a Zipf load of writes.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::{
    Cache, Result as LarderResult,
    cache::WriteBehind,
    document::{Database, IdType, Schema},
    redis::Redis,
    source::{MongoSink, Sink, Write},
};
use larder_bench::{
    rounds::{Rounds, is_full, redis_url},
    zipf::Zipf,
};
use larder_testkit::mongo;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const KEYS: usize = 2_000;
const WRITERS: usize = 32;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    number: u64,
    text: String,
}

impl Row {
    fn new(number: u64) -> Self {
        Self { number, text: "x".repeat(1_000) }
    }
}

/// The sink, and how often it was called.
#[derive(Clone)]
struct Counted {
    sink: MongoSink<String, Row>,
    calls: Arc<AtomicU64>,
    rows: Arc<AtomicU64>,
}

impl Sink<String, Row> for Counted {
    async fn put(&self, key: &String, value: &Row) -> LarderResult<()> {
        self.sink.put(key, value).await
    }

    async fn remove(&self, key: &String) -> LarderResult<()> {
        self.sink.remove(key).await
    }

    async fn apply(&self, writes: &[Write<String, Row>]) -> Vec<LarderResult<()>> {
        self.calls.fetch_add(1, Relaxed);
        self.rows.fetch_add(writes.len() as u64, Relaxed);
        self.sink.apply(writes).await
    }
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    // On a worker of the runtime, as the handlers of a server are.
    tokio::spawn(measure()).await?
}

async fn measure() -> Outcome {
    let (rounds, writes, load) = if is_full() { (5, 1_500, 60_000) } else { (2, 200, 4_000) };
    let redis = Redis::connect(redis_url()?.as_str()).await?;
    let server = mongo::shared();
    let mut measured = Rounds::new("behind");
    for round in 0..rounds {
        let database = Database::mongo(server.url(&mongo::database_name()).as_str()).await?;
        let database = database.with_deadline(Duration::from_secs(10));
        let sink = Counted {
            sink: MongoSink::new(&database, Schema::new("rows", IdType::String))?,
            calls: Arc::default(),
            rows: Arc::default(),
        };
        let cache: Cache<String, Row> = Cache::builder(format!("behind-{round}"))
            .redis(&redis)
            .sink(sink.clone())
            // So many that no writer ever waits for the database: what is measured is how many writes become one.
            .write_behind(WriteBehind::default().backlog(load))
            .build()?;
        waits(&mut measured, &redis, &cache, &sink, writes).await?;
        cache.behind()?.flush().await?;
        coalescing(&mut measured, &cache, &sink, load).await?;
        cache.close().await;
    }
    println!("behind,the database: {:?} ({} rounds),1,", server.origin(), rounds);
    measured.finish();
    Ok(())
}

/// How long one writer waits, three things in turn.
async fn waits(
    measured: &mut Rounds,
    redis: &Redis,
    cache: &Cache<String, Row>,
    sink: &Counted,
    writes: usize,
) -> Outcome {
    let (mut pings, mut behind, mut synchronous) = (Vec::new(), Vec::new(), Vec::new());
    // The first tenth teaches the servers the script and the collection.
    for number in 0..writes + writes / 10 {
        let (key, row) = (format!("row-{}", number % KEYS), Row::new(number as u64));
        let took = [
            timed(redis.ping()).await?,
            timed(cache.put(&key, &row)).await?,
            timed(sink.put(&format!("own-{key}"), &row)).await?,
        ];
        if number >= writes / 10 {
            let [ping, put, write] = took;
            pings.push(ping);
            behind.push(put);
            synchronous.push(write);
        }
    }
    let [ping, _] = measured.note_percentiles("a round trip to Redis", &pings, "us");
    let [behind_p50, behind_p99] = measured.note_percentiles("write-behind acknowledged", &behind, "us");
    let [written_p50, written_p99] =
        measured.note_percentiles("synchronous write to the database", &synchronous, "us");
    measured.note("acknowledge p50 ÷ round trip p50 (target ≤ 2)", behind_p50 / ping, "times");
    measured.note("synchronous p50 ÷ acknowledge p50 (target ≥ 5)", written_p50 / behind_p50, "times");
    measured.note("synchronous p99 ÷ acknowledge p99", written_p99 / behind_p99, "times");
    Ok(())
}

async fn timed(work: impl Future<Output = LarderResult<()>>) -> LarderResult<f64> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed().as_secs_f64() * 1e6)
}

/// How many writes to the database, and calls of it, a Zipf load of writes comes to.
async fn coalescing(
    measured: &mut Rounds,
    cache: &Cache<String, Row>,
    sink: &Counted,
    writes: u64,
) -> Outcome {
    let before = [&sink.calls, &sink.rows].map(|count| count.load(Relaxed));
    let (zipf, next) = (Arc::new(Zipf::new(KEYS)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (cache, zipf, next) = (cache.clone(), zipf.clone(), next.clone());
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= writes {
                    return Ok::<_, larder::Error>(());
                }
                cache.put(&format!("row-{}", zipf.rank(number)), &Row::new(number)).await?;
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    let acknowledged = began.elapsed();
    cache.behind()?.flush().await?;
    let [calls, rows] = [&sink.calls, &sink.rows].map(|count| count.load(Relaxed) as f64);
    let (calls, rows, writes) = (calls - before[0] as f64, rows - before[1] as f64, writes as f64);
    measured.note(format!("Zipf load over {KEYS} keys: operations"), writes, "");
    measured.note("Zipf load: acknowledged in a second", writes / acknowledged.as_secs_f64(), "1/s");
    measured.note("Zipf load: until the database has all", began.elapsed().as_secs_f64(), "s");
    measured.note("Zipf load: operations ÷ documents written", writes / rows, "times");
    measured.note("Zipf load: operations ÷ bulk writes", writes / calls, "times");
    Ok(())
}
