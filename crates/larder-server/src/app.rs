//! Everything that is open while the server runs.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use larder::{
    Result,
    document::{Collection, CursorKey, Database, QueryLimits, Watch},
    redis::{Redis, RedisConfig},
};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    auth::Gate,
    claim::{Claim, claim},
    config::{CollectionConfig, Config, Limits, MongoSettings, RedisSettings, WriteMode},
    jwt::Tokens,
    purge::Running,
    resource::Resource,
    routes::{BodyRoom, Cors},
    telemetry::Telemetry,
    watching,
};

/// The running server, apart from its listener.
#[derive(Debug)]
pub(crate) struct App {
    pub limits: Limits,
    /// The runtime whose threads take work from each other: what may take long is carried out there.
    pub runtime: Handle,
    /// What a list may ask for.
    pub query_limits: QueryLimits,
    /// Seals the cursors of lists.
    pub cursors: CursorKey,
    pub gate: Gate,
    /// Which other sites' pages may call, if any.
    pub cors: Option<Cors>,
    pub database: Database,
    pub redis: Option<Redis>,
    /// By the name in URLs.
    pub resources: BTreeMap<String, Resource>,
    /// Follows what other programs write.
    pub watch: Option<Watch>,
    pub telemetry: Telemetry,
    /// What all bodies together may take.
    pub body_room: BodyRoom,
    /// Purges that may outlive their requests.
    pub purges: Running,
    stopping: AtomicBool,
    _claim: Option<Claim>,
    uses_mongo: bool,
}

impl App {
    /// Connects to the database and to Redis, and puts a cache in front of every collection. The runtimes are those of the
    /// threads that will answer requests; what takes long will be carried out on the one that runs this.
    ///
    /// Redis and MongoDB may be away: they are connected to when they come, and `/readyz` tells.
    ///
    /// # Errors
    /// A URL that cannot be read, a database that cannot be opened or belongs to another process, settings that the library refuses.
    pub(crate) async fn open(config: &Config, threads: Vec<Handle>) -> Result<Self> {
        let claim = claim(config)?;
        let database = open_database(config).await?;
        let redis = match &config.redis.url {
            Some(_) => Some(Redis::connect(redis_config(&config.redis)?.runtimes(threads)).await?),
            None => None,
        };
        let tokens = Tokens::open(&config.jwt, &config.auth).await?;
        let gate = Gate::new(&config.auth, tokens);
        let mut resources = BTreeMap::new();
        for collection in &config.collections {
            let opened = open_collection(&database, redis.as_ref(), collection)
                .map_err(|error| error.context(format_args!("collection {}", collection.name)))?;
            let resource = Resource::new(collection, opened, config, &gate)?;
            resources.insert(collection.name.clone(), resource);
        }
        Ok(Self {
            limits: config.limits.clone(),
            runtime: Handle::current(),
            query_limits: QueryLimits {
                default_limit: config.limits.page_default,
                max_limit: config.limits.page_max,
                max_offset: config.limits.offset_max,
                ..QueryLimits::default()
            },
            cursors: match &config.cursor_secret {
                Some(secret) => CursorKey::new(secret.reveal().as_bytes()),
                None => CursorKey::random(),
            },
            gate,
            cors: Cors::of(&config.cors),
            database,
            redis,
            watch: watching::start(config, resources.values())?,
            resources,
            telemetry: Telemetry::new(config.limits.max_in_flight),
            body_room: BodyRoom::new(config.limits.max_body_memory_bytes),
            purges: Running::default(),
            stopping: AtomicBool::new(false),
            _claim: claim,
            uses_mongo: config.mongo.url.is_some(),
        })
    }

    /// "mongo" or "sqlite".
    pub(crate) fn database_kind(&self) -> &'static str {
        if self.uses_mongo { "mongo" } else { "sqlite" }
    }

    /// Makes `/readyz` say no, so that a balancer sends nothing more.
    pub(crate) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits for the purges under way, lets another node watch, and waits for the loads and fills under way, so that none is cut
    /// off in the middle; at most `patience` each.
    pub(crate) async fn close(&self, patience: Duration) {
        if !self.purges.close(patience).await {
            tracing::warn!("A purge was cut off at the end: some may be purged; order it again.");
        }
        if let Some(watch) = &self.watch
            && timeout(patience, watch.stop()).await.is_err()
        {
            tracing::warn!(
                "The watch had not ended at the end; another node takes over when its lease runs out."
            );
        }
        let all = join_all(self.resources.values().map(|resource| resource.collection.close()));
        if timeout(patience, all).await.is_err() {
            tracing::warn!("Loads were still under way at the end.");
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The file of the embedded database, under the data directory.
pub(crate) const DATABASE_FILE: &str = "larder.db";

pub(crate) async fn open_database(config: &Config) -> Result<Database> {
    let MongoSettings { url, deadline } = &config.mongo;
    let database = match url {
        Some(url) => Database::mongo(url.reveal()).await?,
        None => {
            std::fs::create_dir_all(&config.data_dir).map_err(|error| {
                let what = format!("make the folder {}", config.data_dir.display());
                larder::Error::new(larder::ErrorKind::Config, what).with_source(error)
            })?;
            Database::sqlite(config.data_dir.join(DATABASE_FILE)).await?
        }
    };
    Ok(database.with_deadline(*deadline))
}

pub(crate) async fn open_redis(settings: &RedisSettings) -> Result<Redis> {
    Redis::connect(redis_config(settings)?).await
}

fn redis_config(settings: &RedisSettings) -> Result<RedisConfig> {
    let url = settings.url.as_ref().map_or("", |url| url.reveal());
    let mut config = RedisConfig::new(url).deadline(settings.deadline).app(&settings.app);
    if let Some(path) = &settings.ca_file {
        config = config.ca_certificate(read_pem("redis.ca_file", path)?);
    }
    if let (Some(certificate), Some(key)) = (&settings.certificate_file, &settings.key_file) {
        let certificate = read_pem("redis.certificate_file", certificate)?;
        config = config.client_certificate(certificate, read_pem("redis.key_file", key)?);
    }
    if let Some(password) = &settings.sentinel_password {
        config = config.sentinel_login(settings.sentinel_user.clone().unwrap_or_default(), password.reveal());
    }
    Ok(config)
}

/// The file that this setting names.
///
/// # Errors
/// `ErrorKind::Config` at the setting if it cannot be read.
pub(crate) fn read_pem(setting: &'static str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        larder::Error::new(larder::ErrorKind::Config, unreadable(path, &error)).with_field(setting)
    })
}

/// What is said of a file that a setting names and that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read ({error}): name a file that this user may read", path.display())
}

pub(crate) fn open_collection(
    database: &Database,
    redis: Option<&Redis>,
    config: &CollectionConfig,
) -> Result<Collection> {
    let mut builder = database
        .collection(config.schema.clone())
        .policy(config.cache.policy())
        .consistency(config.cache.consistency())
        .failover_window(config.cache.failover_window)
        .hot_replicas(u16::try_from(config.cache.hot_replicas).unwrap_or(u16::MAX))
        .near_bytes(config.cache.near_max_bytes)
        .tags(&config.tags.iter().map(String::as_str).collect::<Vec<_>>());
    if config.cache.write == WriteMode::Through {
        builder = builder.write_through();
    }
    if let Some(policy) = config.cache.list_policy() {
        builder = builder.cache_lists(policy);
    }
    if let Some(redis) = redis {
        builder = builder.redis(redis);
    }
    for (name, fields) in &config.partials {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        builder = builder.partial(name, &fields);
    }
    builder.build()
}
