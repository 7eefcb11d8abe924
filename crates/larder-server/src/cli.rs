//! The command line.

use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf};

use clap::{
    Args, Error, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{import::ImportArgs, load::LoadArgs};

/// The speed layer between an API and MongoDB.
///
/// Without a command it serves. Without a configuration it serves the sample shop from memory and SQLite.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = "What is logged is up to LARDER_LOG: warn, info, debug.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

impl Cli {
    /// Reads the command line; ends the process if it is wrong, or asks for help.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| with_hint(error).exit())
    }
}

/// What is said of a command line that is wrong. An option of `serve` may stand behind `serve` only, though no command means the same.
fn with_hint(mut error: Error) -> Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return error };
    let serve = ServeArgs::augment_args(clap::Command::new("serve"));
    let name = given.split('=').next().unwrap_or_default();
    let is_of_serve = |arg: &clap::Arg| arg.get_long().is_some_and(|long| name == format!("--{long}"));
    if error.kind() == ErrorKind::UnknownArgument && serve.get_arguments().any(is_of_serve) {
        let hint = StyledStr::from(format!("it is an option of `serve`: larder serve {name}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint]));
    }
    error
}

/// Where the configuration comes from. These win over the environment, which wins over the file.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// The configuration file; `larder config` prints one to begin with.
    #[arg(long, global = true, value_name = "FILE", env = "LARDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Keep documents in this MongoDB: mongodb://host/database.
    #[arg(long, global = true, value_name = "URL")]
    pub mongo: Option<String>,
    /// Share the cache through this Redis: redis://host, rediss://, redis-sentinel:// or redis-cluster://.
    #[arg(long, global = true, value_name = "URL")]
    pub redis: Option<String>,
    /// The address to serve on; port 0 takes a free one.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the embedded database keeps its file.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve (also without a command).
    Serve(ServeArgs),
    /// Print every setting with its default, as a file to begin with.
    Config,
    /// Look at the configuration, the database and Redis, and say what is missing and what that turns off.
    ///
    /// Ends with 0 if all is well, 1 with warnings, 2 if the server could not serve.
    Check(CheckArgs),
    /// Say what the cache of a running server knows about one document, and why a read of it missed.
    Explain(ExplainArgs),
    /// Show the documents that a running server is asked for most, and how many reads a cache answers.
    Top(TopArgs),
    /// Say what other cache settings would change, by what a running server has counted.
    Advise(AdviseArgs),
    /// Make every node forget documents of a collection that were changed past Larder. Needs Redis, and no running server.
    ///
    /// Ends with 0 if it is done, 1 if Redis did not acknowledge it, 2 if the order is wrong.
    Purge(PurgeArgs),
    /// List, replay or drop the writes that a write-behind cache could not carry out. Needs Redis, and no running server.
    ///
    /// Ends with 0 if it is done, 1 if Redis cannot be asked or a key has no such write, 2 if the order is wrong.
    Behind {
        #[command(subcommand)]
        order: BehindOrder,
    },
    /// Import documents from a file into a declared collection.
    Import(ImportArgs),
    /// Load a running server with the same requests through the cache and past it, and compare.
    Bench(LoadArgs),
}

/// Options of `serve` alone.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    /// Load the sample shop into an empty MongoDB, too. The embedded database gets it in any case.
    #[arg(long)]
    pub sample: bool,
    /// Do not load the sample shop.
    #[arg(long, conflicts_with = "sample")]
    pub no_sample: bool,
    /// Write the address here once requests are answered.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Options of `check`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CheckArgs {
    /// Create the indexes that the declared filters and sorts need.
    #[arg(long)]
    pub create_indexes: bool,
    /// Judge Redis as write-behind needs it, for the programs that share it.
    #[arg(long)]
    pub write_behind: bool,
}

/// Options of `purge`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PurgeArgs {
    /// The collection.
    pub collection: String,
    /// A document's id; may be given several times.
    #[arg(long = "key", value_name = "ID", allow_hyphen_values = true)]
    pub keys: Vec<String>,
    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// A glob for ids: 'tenant:42:*'. Looks through all keys in Redis.
    #[arg(long, value_name = "GLOB")]
    pub pattern: Option<String>,
    /// Everything in the collection.
    #[arg(long)]
    pub all: bool,
    /// Make them stale instead, for as long as the collection's stale windows say. With --tag and --all it looks through all keys
    /// in Redis, too.
    #[arg(long)]
    pub soft: bool,
}

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BehindOrder {
    /// Show what is pending, and each dead letter: its key, operation, tries, age and error.
    List {
        #[command(flatten)]
        place: BehindArgs,
        /// The most dead letters to show.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
    },
    /// Hand dead letters in again, each as the newest operation of its key; the cache's nodes carry them out.
    Replay {
        #[command(flatten)]
        place: BehindArgs,
        #[command(flatten)]
        letters: LetterArgs,
    },
    /// Throw dead letters away: the writes are given up for good, and readers see what the database has.
    Drop {
        #[command(flatten)]
        place: BehindArgs,
        #[command(flatten)]
        letters: LetterArgs,
        /// Do it. Without this, nothing is thrown away.
        #[arg(long)]
        yes: bool,
    },
}

/// Where a write-behind cache keeps what is pending.
#[derive(Args, Clone, Debug)]
pub(crate) struct BehindArgs {
    /// The name that the cache was built with.
    #[arg(long, value_name = "NAME")]
    pub cache: String,
    /// The version that it was built with.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub version: u32,
    /// The number of shards that it was built with.
    #[arg(long, value_name = "COUNT", default_value = "16")]
    pub shards: NonZeroU16,
}

/// Which dead letters.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct LetterArgs {
    /// The keys whose dead letters are meant, as the list shows them.
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

/// Options of `explain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The collection.
    pub collection: String,
    /// The document's id.
    pub id: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Options of `top`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The most documents to show.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Show it once and end. Also what happens when the output is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Print what the server answers, as it is, once.
    #[arg(long)]
    pub json: bool,
}

/// Options of `advise`.
#[derive(Args, Clone, Debug)]
pub(crate) struct AdviseArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print what the server answers, as it is.
    #[arg(long)]
    pub json: bool,
}

/// Which running server to ask.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The running server: http://host:port. Without it, the one that listens on this machine where the configuration says.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// An administrator's key, if the server asks for one.
    #[arg(long, value_name = "KEY", env = "LARDER_KEY", hide_env_values = true)]
    pub key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_serve_is_said_to_be_one() {
        let said = |arguments: &[&str]| with_hint(Cli::try_parse_from(arguments).unwrap_err()).to_string();
        let with_it = said(&["larder", "--no-sample"]);
        assert!(with_it.contains("tip: it is an option of `serve`: larder serve --no-sample"), "{with_it}");
        assert!(said(&["larder", "--ready-file", "x"]).contains("larder serve --ready-file"));
        let without = said(&["larder", "--no-smaple"]);
        assert!(without.contains("--no-smaple") && !without.contains("option of `serve`"), "{without}");
    }
}
