//! The configuration: one TOML file, overridden by the environment, read as a whole before anything starts.
//!
//! A setting `url` under `[redis]` is overridden by `LARDER_REDIS__URL`. Lists of tables (`[[collection]]`) come from the
//! file alone. Unknown keys and variables are refused, with the nearest one that exists.

mod access;
mod alarms;
mod audit;
mod collection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod limits;
mod partial;
mod policy;
mod problem;
mod reader;
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
    access::{ANONYMOUS, Auth, Grant, is_within},
    collection::CollectionConfig,
    limits::Limits,
    policy::{CacheSettings, WriteMode},
    problem::{Problem, Problems, find_nearest},
    secret::Secret,
    verb::Verb,
};

/// Every setting with its default and what it does, as TOML.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The address to serve on.
    pub listen: SocketAddr,
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
    /// Who may do what.
    pub auth: Auth,
    /// The declared collections.
    pub collections: Vec<CollectionConfig>,
}

/// `[mongo]`.
#[derive(Clone, Debug)]
pub(crate) struct MongoSettings {
    /// `mongodb://…/database`.
    pub url: Option<Secret>,
    /// The most time one operation may take, at the server too.
    pub deadline: Duration,
}

/// `[watch]`.
#[derive(Clone, Debug)]
pub(crate) struct WatchSettings {
    pub enabled: bool,
    /// For how long a node that leads is not replaced although it is not heard of.
    pub lease: Duration,
    /// How often collections are asked that are polled.
    pub poll_interval: Duration,
}

/// `[redis]`.
#[derive(Clone, Debug)]
pub(crate) struct RedisSettings {
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`.
    pub url: Option<Secret>,
    /// The most time one operation may take.
    pub deadline: Duration,
    /// What every key begins with.
    pub app: String,
    /// The authority that signs the servers' certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// What this node shows to servers that ask for a certificate, PEM.
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The login for the sentinels themselves.
    pub sentinel_user: Option<String>,
    pub sentinel_password: Option<Secret>,
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
    let data_dir = file.get("data_dir", PathBuf::from("larder-data"));
    let cursor_secret: Option<Secret> = file.find("cursor_secret");
    if cursor_secret.as_ref().is_some_and(|secret| secret.reveal().len() < 16) {
        file.report("cursor_secret", "must be at least 16 bytes");
    }

    let mut table = file.table("mongo");
    let mongo =
        MongoSettings { url: table.find("url"), deadline: table.get("deadline", Duration::from_secs(2)) };
    require_time(&table, "deadline", mongo.deadline);
    table.finish();

    let mut table = file.table("watch");
    let watch = WatchSettings {
        enabled: table.get("enabled", true),
        lease: table.get("lease", Duration::from_secs(5)),
        poll_interval: table.get("poll_interval", Duration::from_secs(1)),
    };
    for (key, least, value) in [("lease", 100, watch.lease), ("poll_interval", 10, watch.poll_interval)] {
        if value < Duration::from_millis(least) {
            table.report(key, format!("must be {least}ms or longer"));
        }
    }
    table.finish();

    let mut table = file.table("redis");
    let redis = RedisSettings {
        url: table.find("url"),
        deadline: table.get("deadline", Duration::from_millis(250)),
        app: table.get("app", "larder".to_owned()),
        ca_file: table.find("ca_file"),
        certificate_file: table.find("certificate_file"),
        key_file: table.find("key_file"),
        sentinel_user: table.find("sentinel_user"),
        sentinel_password: table.find("sentinel_password"),
    };
    require_time(&table, "deadline", redis.deadline);
    if !is_app_name(&redis.app) {
        table.report("app", "must be 1 to 64 letters, digits, \"-\" and \"_\"");
    }
    if redis.certificate_file.is_some() != redis.key_file.is_some() {
        table.report("key_file", "certificate_file and key_file belong together");
    }
    table.finish();

    let cache = policy::read_defaults(file.table("cache"));
    let alarms = alarms::read(file.table("alarms"));
    let audit = audit::read(file.table("audit"));
    let limits = limits::read(file.table("limits"));
    let auth = access::read(file, listen);
    let collections =
        file.tables("collection").into_iter().filter_map(|table| collection::read(table, &cache)).collect();
    Config {
        listen,
        data_dir,
        cursor_secret,
        mongo,
        watch,
        redis,
        cache,
        alarms,
        audit,
        limits,
        auth,
        collections,
    }
}

/// Reports a deadline of zero, with which every call would fail.
fn require_time(table: &Reader<'_>, key: &str, deadline: Duration) {
    if deadline.is_zero() {
        table.report(key, "must be longer than zero, such as \"250ms\": nothing is done in no time");
    }
}

fn is_app_name(app: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&app.len()) && app.bytes().all(allowed)
}

fn describe_syntax_error(text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    Problem { path: String::new(), line, message: error.message().to_owned() }
}

#[cfg(test)]
mod tests;
