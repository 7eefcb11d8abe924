//! `[mongo]`, `[watch]` and `[redis]`: the servers behind this one.

use std::{path::PathBuf, time::Duration};

use crate::config::{Secret, reader::Reader, require_time};

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

pub(super) fn read_mongo(mut table: Reader<'_>) -> MongoSettings {
    let mongo =
        MongoSettings { url: table.find("url"), deadline: table.get("deadline", Duration::from_secs(2)) };
    require_time(&table, "deadline", mongo.deadline);
    table.finish();
    mongo
}

pub(super) fn read_watch(mut table: Reader<'_>) -> WatchSettings {
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
    watch
}

pub(super) fn read_redis(mut table: Reader<'_>) -> RedisSettings {
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
    redis
}

fn is_app_name(app: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&app.len()) && app.bytes().all(allowed)
}
