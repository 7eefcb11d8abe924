//! `larder purge COLLECTION`: makes every node forget documents, by telling Redis. No server needs to run.

use larder::{
    Error, ErrorKind, Result,
    document::{Collection, Database, Id},
};

use crate::{
    app::{open_collection, open_redis},
    cli::{Options, PurgeArgs},
    commands::{OK, TROUBLE, WRONG, complain, find_collection, load_config, say},
    config::{CollectionConfig, Config},
    purge::{Purge, Purged},
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
    if args.keys.is_empty() && args.tags.is_empty() && args.pattern.is_none() && !args.all {
        return Err(Error::invalid("purge", "give --key, --tag, --pattern or --all"));
    }
    let ids =
        args.keys.iter().map(|key| declared.schema.id_type().parse(key)).collect::<Result<Vec<Id>>>()?;
    let cache = open_cache(config, declared).await?;
    let purge =
        Purge { ids, tags: args.tags.clone(), pattern: args.pattern.clone(), all: args.all, soft: args.soft };
    let purged = purge.carry_out(&cache).await?;
    cache.close().await;
    Ok(describe(&purge, &purged, &declared.name))
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
