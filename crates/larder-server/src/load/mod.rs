//! `larder bench`: the same mixed load on a running server twice, with the cache and past it.

mod client;
mod discover;
mod figures;
mod plan;
mod plot;
mod report;
mod worker;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use hyper::Uri;
use larder::{Error, ErrorKind, Result};
use tokio::task::JoinSet;

use self::{
    client::Target,
    figures::Figures,
    plan::{Plan, Workload},
    report::Comparison,
    worker::Way,
};

/// What `larder bench` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// The server to measure.
    #[arg(long, default_value = "http://127.0.0.1:7300")]
    pub(crate) url: Uri,
    /// How long each of the two runs takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// How many connections ask at the same time. Each sends its next request when it has the answer to the last.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) connections: u16,
    /// How uneven the reads are: the document of rank k is asked for in proportion to 1 / k^ZIPF. 0 is even.
    #[arg(long, default_value_t = 1.0, value_parser = plan::parse_zipf)]
    pub(crate) zipf: f64,
    /// Which part of the requests are writes, from 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.02, value_parser = plan::parse_part)]
    pub(crate) write_ratio: f64,
    /// Which part of the requests are lists of 20 documents, from 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.02, value_parser = plan::parse_part)]
    pub(crate) list_ratio: f64,
    /// The collection to read and write.
    #[arg(long, default_value = "products")]
    pub(crate) collection: String,
    /// The field that writes set, to the value that it has already: the data stay as they are. Without it, writes are
    /// sent only to `products` of a server on this machine, where they set `stock`.
    #[arg(long, value_name = "FIELD")]
    pub(crate) write_field: Option<String>,
    /// How many different documents are asked for, at most.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) keys: u32,
    /// The seed of the request sequence.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// An API key; its role needs `bypass` for the second run and `admin` for the source reads.
    #[arg(long, env = "LARDER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Where the plot goes; the raw data go beside it, with the ending `.csv`.
    #[arg(long, default_value = "larder-bench.svg")]
    pub(crate) plot: PathBuf,
}

impl LoadArgs {
    /// Whether the server is on this machine.
    fn is_local(&self) -> bool {
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Measures a running server, prints the comparison and writes the plot and the raw data.
///
/// # Errors
/// `ErrorKind::Config` for a URL that is not plain HTTP, a collection without documents, or a key that does not come past the
/// cache; `ErrorKind::Unavailable` if the server does not answer or a file cannot be written.
pub(crate) async fn run(args: &LoadArgs) -> Result<()> {
    let target = Target::new(&args.url, args.key.as_deref())?;
    let workload = workload(&target, args).await?;
    let plan = Plan::new(target.clone(), &workload)?;
    require_two_ways(&plan, args).await?;
    let time = Duration::from_secs(args.seconds);
    say(&format!("Warming up {}, then {} s with the cache and {1} s past it.", args.url, args.seconds));

    // A tenth of the time, on dice of its own, so that the first run begins with a cache that is in use.
    load(&plan, args, Way::WarmUp, (time / 10).max(Duration::from_secs(1))).await?;
    let cached = measured(&plan, args, Way::Cached, time).await?;
    let bypassed = measured(&plan, args, Way::Bypassed, time).await?;

    let comparison = Comparison { args, workload: &workload, cached, bypassed };
    let csv = args.plot.with_extension("csv");
    write(&args.plot, &plot::svg(&comparison))?;
    write(&csv, &report::csv(&comparison))?;
    say(&report::table(&comparison));
    say(&format!("Plot: {}   Raw data: {}", args.plot.display(), csv.display()));
    Ok(())
}

/// Refuses to compare the cache with itself.
async fn require_two_ways(plan: &Plan, args: &LoadArgs) -> Result<()> {
    if plan.target.comes_past_the_cache(plan.read()).await? != Some(false) {
        return Ok(());
    }
    let whose = match args.key {
        Some(_) => {
            "the role of this key has no `bypass`: add `bypass = true` to its [[role]] in the server's configuration"
        }
        None => {
            "who has no key does not come past the cache: give --key a key whose role has `bypass = true`"
        }
    };
    let message = format!("both runs would measure the cache, because {whose}");
    Err(Error::new(ErrorKind::Config, message))
}

/// What to send, from what the server has.
async fn workload(target: &Target, args: &LoadArgs) -> Result<Workload> {
    let documents = |field| discover::documents(target, &args.collection, field, args.keys);
    let of_the_shop = args.collection == "products" && args.is_local() && args.write_ratio > 0.0;
    if args.write_field.is_none() && of_the_shop {
        // Other people have products, too, and theirs may have no stock: then nothing is written.
        if let Ok(found) = documents(Some("stock")).await {
            return Ok(Workload::new(args, Some("stock"), found));
        }
    }
    let field = args.write_field.as_deref();
    Ok(Workload::new(args, field, documents(field).await?))
}

/// One run, and the source reads that the server counted meanwhile.
async fn measured(plan: &Plan, args: &LoadArgs, way: Way, time: Duration) -> Result<Figures> {
    let before = discover::source_reads(&plan.target).await?;
    let mut figures = load(plan, args, way, time).await?;
    let after = discover::source_reads(&plan.target).await?;
    figures.source_reads = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(figures)
}

/// All connections at once; ends when the time is over and the last answers are in.
async fn load(plan: &Plan, args: &LoadArgs, way: Way, time: Duration) -> Result<Figures> {
    let mut workers = JoinSet::new();
    let start = tokio::time::Instant::now();
    for number in 0..args.connections {
        workers.spawn(worker::run(plan.clone(), u32::from(number), way, start + time));
    }
    let mut figures = Figures::new();
    while let Some(ended) = workers.join_next().await {
        let own = ended
            .map_err(|error| Error::new(ErrorKind::Unavailable, "a worker ended early").with_source(error))?;
        figures.add(&own);
    }
    figures.elapsed = start.elapsed();
    Ok(figures)
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot be written")
            .with_field(path.display().to_string())
            .with_source(error)
    })
}

#[expect(clippy::print_stdout, reason = "this is the command's answer")]
fn say(text: &str) {
    println!("{text}");
}
