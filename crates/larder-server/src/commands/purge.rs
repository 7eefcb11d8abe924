//! `larder purge COLLECTION`: makes every node forget documents, by telling Redis. No server needs to run.

use larder::{
    Error, ErrorKind, Result,
    document::{Collection, Database, Id},
};

use crate::{
    app::{open_collection, open_redis},
    cli::{Options, PurgeArgs},
    commands::{OK, TROUBLE, WRONG, complain, find_collection, load_config, say, terminal::shown},
    config::{CollectionConfig, Config},
    purge::{Purge, Purged, pattern_fault, tag_fault},
};

/// Purges, and prints how much that was. Returns 1 if Redis did not acknowledge it, 2 if the order is wrong.
pub(crate) async fn run(options: &Options, args: &PurgeArgs) -> u8 {
    let config = match load_config(options) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            complain(problems);
            return WRONG;
        }
    };
    match purge(&config, args).await {
        Ok(done) => {
            say(done);
            OK
        }
        Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Invalid) => {
            complain(error);
            WRONG
        }
        Err(error) => {
            complain(format_args!("{error}; nothing is kept after this command, so run it again"));
            TROUBLE
        }
    }
}

async fn purge(config: &Config, args: &PurgeArgs) -> Result<String> {
    let declared = find_collection(config, &args.collection)?;
    let purge = read_order(args, declared)?;
    let cache = open_cache(config, declared).await?;
    let purged = purge.carry_out(&cache).await?;
    cache.close().await;
    Ok(describe(&purge, &purged, &declared.name))
}

/// Checks all of an order before any of it is carried out.
fn read_order(args: &PurgeArgs, declared: &CollectionConfig) -> Result<Purge> {
    let PurgeArgs { collection: _, keys, tags, pattern, all, soft } = args;
    if keys.is_empty() && tags.is_empty() && pattern.is_none() && !all {
        return Err(Error::invalid("purge", "give --key, --tag, --pattern or --all"));
    }
    let id_type = declared.schema.id_type();
    let read = |key: &String| {
        let wrong = |error: Error| Error::invalid("--key", format!("\"{}\" {}", shown(key), error.message()));
        id_type.parse(key).map_err(wrong)
    };
    let ids = keys.iter().map(read).collect::<Result<Vec<Id>>>()?;
    if let Some(fault) = tags.iter().find_map(|tag| tag_fault(tag)) {
        return Err(Error::invalid("--tag", fault));
    }
    if let Some(fault) = pattern.as_deref().and_then(pattern_fault) {
        return Err(Error::invalid("--pattern", fault));
    }
    Ok(Purge { ids, tags: tags.clone(), pattern: pattern.clone(), all: *all, soft: *soft })
}

/// A line for each thing that was ordered.
fn describe(purge: &Purge, purged: &Purged, collection: &str) -> String {
    let made = if purge.soft { ", made stale" } else { "" };
    let counts = [
        (!purge.ids.is_empty()).then(|| format!("keys     {}", purge.ids.len())),
        (!purge.tags.is_empty()).then(|| format!("tags     {}", purge.tags.len())),
        purged.matched.map(|matched| format!("matched  {matched}")),
        purge.all.then(|| "all".to_owned()),
    ];
    let lines = counts.into_iter().flatten().map(|line| format!("\n  {line}{made}"));
    format!("{collection}:{}", lines.collect::<String>())
}

/// The collection's cache, with an empty database in the place of its own: keys are all that a purge needs, and the embedded
/// database may be in use.
async fn open_cache(config: &Config, declared: &CollectionConfig) -> Result<Collection> {
    if config.redis.url.is_none() {
        let message = "without Redis each server has its copies to itself: ask it, by POST /v1/_purge";
        return Err(Error::new(ErrorKind::Config, message).with_field("redis.url"));
    }
    let redis = open_redis(&config.redis).await?;
    redis.ping().await?;
    open_collection(&Database::sqlite_in_memory().await?, Some(&redis), declared)
}
