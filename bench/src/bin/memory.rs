//! What an entry costs beside its value, for a million values of one kilobyte, in Redis and in the near tier.
//!
//! usage: `memory quick|full REDIS_URL …`; prints `part,name,value,unit` lines.

use std::{env, error::Error};

use larder::{
    Cache,
    document::{Id, StoredDocument},
    redis::Redis,
};
use larder_bench::{counting::Counting, process::resident_bytes};

#[global_allocator]
static MEMORY: Counting = Counting::new();

const VALUE_BYTES: usize = 1_024;
const BATCH: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let entries = if arguments.first().is_some_and(|mode| mode == "full") { 1_000_000 } else { 100_000 };
    let url = arguments.get(1).ok_or("a Redis URL is missing")?.as_str();
    println!("memory,entries of {VALUE_BYTES} bytes,{entries},");
    near(entries).await?;
    near_documents(entries).await?;
    shared(url, entries).await
}

async fn near(entries: usize) -> Result<(), Box<dyn Error>> {
    let (live, resident) = (MEMORY.live_bytes(), resident_bytes("self")?);
    let cache = Cache::builder("memory-near").near_capacity(entries as u64 * 2).build()?;
    fill(&cache, entries).await?;
    let used = (MEMORY.live_bytes() - live) as f64 / entries as f64;
    let held = (resident_bytes("self")? - resident) as f64 / entries as f64;
    println!("memory,near: allocated beside the value,{},bytes an entry", used - VALUE_BYTES as f64);
    println!("memory,near: resident beside the value,{},bytes an entry", held - VALUE_BYTES as f64);
    Ok(())
}

/// What the server keeps of documents that were read: BSON, and the JSON that is sent.
async fn near_documents(entries: usize) -> Result<(), Box<dyn Error>> {
    let live = MEMORY.live_bytes();
    // Its capacity is counted in entries here; the server counts their bytes.
    let cache = Cache::builder("memory-documents").near_capacity(entries as u64 * 2).build_with_codec()?;
    for at in 0..entries {
        let id = Id::String(key(at));
        let read = cache.get_with(&id, move || async move { document(at).map(Some) }).await?;
        let sent = read.ok_or("a document is missing")?.json().len();
        assert!(sent.abs_diff(VALUE_BYTES) < 16, "{sent} bytes of JSON");
    }
    let used = (MEMORY.live_bytes() - live) as f64 / entries as f64;
    println!(
        "memory,near: allocated for a document beside its JSON,{},bytes an entry",
        used - VALUE_BYTES as f64
    );
    Ok(())
}

fn document(at: usize) -> larder::Result<StoredDocument> {
    let text = "v".repeat(VALUE_BYTES - 100);
    let document = bson::doc! { "_id": key(at), "name": "Walnut serving board", "price": 20.5, "stock": 4, "text": text };
    let raw = bson::RawDocumentBuf::try_from(&document).expect("a document can be written").into_bytes();
    // As a database gives it: without room for more.
    let raw =
        bson::RawDocumentBuf::from_bytes(raw.into_boxed_slice().into_vec()).expect("it was written just now");
    StoredDocument::new(raw)
}

async fn shared(url: &str, entries: usize) -> Result<(), Box<dyn Error>> {
    // A million keys take Redis longer to count and to forget than a command of an application may take.
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut admin = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await?;
    let before = used_memory(&mut admin).await?;
    let redis = Redis::connect(url).await?;
    let cache = Cache::builder("memory-shared").redis(&redis).near_capacity(0).build()?;
    fill(&cache, entries).await?;
    let used = (used_memory(&mut admin).await? - before) / entries as f64;
    println!("memory,Redis: used_memory beside the value,{},bytes an entry", used - VALUE_BYTES as f64);
    // The same keys and values as a hand-written cache would set them.
    let before = used_memory(&mut admin).await?;
    for batch in (0..entries).step_by(BATCH) {
        let mut commands = redis::pipe();
        for at in batch..entries.min(batch + BATCH) {
            commands
                .set_options(
                    key(at),
                    value(),
                    redis::SetOptions::default().with_expiration(redis::SetExpiry::EX(3_600)),
                )
                .ignore();
        }
        let () = commands.query_async(&mut admin).await?;
    }
    let used = (used_memory(&mut admin).await? - before) / entries as f64;
    println!(
        "memory,Redis: a plain SET with EX of the same key and value,{},bytes an entry",
        used - VALUE_BYTES as f64
    );
    let () = redis::cmd("FLUSHALL").query_async(&mut admin).await?;
    Ok(())
}

async fn fill(cache: &Cache<String, String>, entries: usize) -> Result<(), Box<dyn Error>> {
    for batch in (0..entries).step_by(BATCH) {
        let mut tasks = tokio::task::JoinSet::new();
        for at in batch..entries.min(batch + BATCH) {
            let cache = cache.clone();
            tasks.spawn(async move { cache.get_with(&key(at), async || Ok(Some(value()))).await.map(drop) });
        }
        while let Some(filled) = tasks.join_next().await {
            filled??;
        }
    }
    Ok(())
}

fn key(at: usize) -> String {
    format!("product:{at:08}")
}

fn value() -> String {
    "v".repeat(VALUE_BYTES)
}

async fn used_memory(admin: &mut redis::aio::MultiplexedConnection) -> Result<f64, Box<dyn Error>> {
    let text: String = redis::cmd("INFO").arg("memory").query_async(admin).await?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("INFO has no used_memory")?;
    Ok(line.trim().parse()?)
}
