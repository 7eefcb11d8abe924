//! The configuration: one TOML file, overridden by the environment, read as a whole before anything starts.
//!
//! A setting `url` under `[redis]` is overridden by `LARDER_REDIS__URL`. Lists of tables (`[[collection]]`) come from the
//! file alone. Unknown keys and variables are refused, with the nearest one that exists.

mod access;
mod alarms;
mod audit;
mod backends;
mod claims;
mod collection;
mod cors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod jwt;
mod limits;
mod partial;
mod policy;
mod problem;
mod reader;
mod rows;
mod secret;
mod setting;
mod tags;
mod validate;
mod verb;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use larder::cache::{AuditRules, HitRateRules};
use toml::de::DeTable;

use self::reader::{Context, Reader};
pub(crate) use self::{
    access::{ANONYMOUS, ApiKey, Auth, Grant, is_within},
    backends::{MongoSettings, RedisSettings, WatchSettings},
    collection::{CollectionConfig, name_fault},
    cors::CorsSettings,
    jwt::JwtSettings,
    limits::Limits,
    policy::{CacheSettings, WriteMode},
    problem::{Problem, Problems, find_nearest},
    secret::Secret,
    verb::Verb,
};

/// The most threads that answer requests: more cores than most machines have.
const MAX_THREADS: u32 = 1_024;

/// Every setting with its default and what it does, as TOML.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The address to serve on.
    pub listen: SocketAddr,
    /// How many threads answer requests; one for each core if it does not say.
    pub threads: Option<u32>,
    /// Where the embedded database keeps its file.
    pub data_dir: PathBuf,
    /// Signs cursors; the same on all nodes, or cursors of one node are refused by the next.
    pub cursor_secret: Option<Secret>,
    /// The database; without a URL it is SQLite in [`Config::data_dir`].
    pub mongo: MongoSettings,
    /// Following what other programs write.
    pub watch: WatchSettings,
    /// The shared tier; without a URL there is only the near tier.
    pub redis: RedisSettings,
    /// What every collection's cache begins from.
    pub cache: CacheSettings,
    /// From when on a hit rate is too low.
    pub alarms: HitRateRules,
    /// How what is served is compared with the database, if it is.
    pub audit: Option<AuditRules>,
    /// Sizes, counts and deadlines of requests.
    pub limits: Limits,
    /// Which other sites' pages may call.
    pub cors: CorsSettings,
    /// Who may do what.
    pub auth: Auth,
    /// Whose tokens let in.
    pub jwt: JwtSettings,
    /// The declared collections.
    pub collections: Vec<CollectionConfig>,
}

/// Reads a configuration from its text and the `LARDER_` variables.
///
/// # Errors
/// Every problem that was found, each with its path and line.
pub(crate) fn parse(
    origin: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Config, Problems> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let context = Context::new(text, environment);
    let mut file = Reader::root(&context, document.get_ref());
    let config = read(&mut file);
    file.finish();
    validate::check(&config, &context);

    let mut list = context.finish();
    if !syntax_errors.is_empty() {
        // A file that is not TOML has settings that were never seen: only the syntax is worth reporting.
        list = syntax_errors.iter().map(|error| describe_syntax_error(text, error)).collect();
    }
    if list.is_empty() { Ok(config) } else { Err(Problems { origin: origin.to_owned(), list }) }
}

fn read(file: &mut Reader<'_>) -> Config {
    let listen = file.get("listen", SocketAddr::from(([127, 0, 0, 1], 7300)));
    let threads = file.find("threads");
    if threads.is_some_and(|threads| !(1..=MAX_THREADS).contains(&threads)) {
        file.report("threads", format!("must be between 1 and {MAX_THREADS}"));
    }
    let data_dir = file.get("data_dir", PathBuf::from("larder-data"));
    let cursor_secret: Option<Secret> = file.find("cursor_secret");
    if cursor_secret.as_ref().is_some_and(|secret| secret.reveal().len() < 16) {
        file.report("cursor_secret", "must be at least 16 bytes");
    }
    let mongo = backends::read_mongo(file.table("mongo"));
    let watch = backends::read_watch(file.table("watch"));
    let redis = backends::read_redis(file.table("redis"));
    let cache = policy::read_defaults(file.table("cache"));
    let alarms = alarms::read(file.table("alarms"));
    let audit = audit::read(file.table("audit"));
    let limits = limits::read(file.table("limits"));
    let auth = access::read(file, listen);
    let cors = cors::read(file.table("cors"), auth.open);
    let jwt = jwt::read(file.table("jwt"), &auth);
    let collections =
        file.tables("collection").into_iter().filter_map(|table| collection::read(table, &cache)).collect();
    Config {
        listen,
        threads,
        data_dir,
        cursor_secret,
        mongo,
        watch,
        redis,
        cache,
        alarms,
        audit,
        limits,
        cors,
        auth,
        jwt,
        collections,
    }
}

/// Reports a deadline of zero, with which every call would fail.
fn require_time(table: &Reader<'_>, key: &str, deadline: Duration) {
    if deadline.is_zero() {
        table.report(key, "must be longer than zero, such as \"250ms\": nothing is done in no time");
    }
}

fn describe_syntax_error(text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    Problem { path: String::new(), line, message: error.message().to_owned() }
}

#[cfg(test)]
mod tests;
