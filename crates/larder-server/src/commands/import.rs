//! `larder import COLLECTION FILE`: documents from a file into a declared collection, while the server runs or not.

use std::time::Duration;

use larder::{
    Result,
    cache::CacheStats,
    document::{Collection, Database},
};
use tokio::time::{interval, timeout};

use crate::{
    app::{open_collection, open_database, open_redis},
    claim::{Claim, claim},
    cli::Options,
    commands::{Loaded, OK, TROUBLE, WRONG, complain, find_collection, load_config, say},
    config::Config,
    import::{self, ImportArgs},
};

/// How long a Redis that is away is waited for when all is written.
const REDIS_PATIENCE: Duration = Duration::from_secs(5);

/// Imports, and says how much. Returns 1 if documents were rejected or Redis was not told, 2 if it came to no end.
pub(crate) async fn run(options: &Options, args: &ImportArgs) -> u8 {
    if args.declare {
        return finish(import::declare(args), OK);
    }
    let Loaded { config, is_sample } = match load_config(options) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(problems);
            return WRONG;
        }
    };
    if let Err(undeclared) = find_collection(&config, &args.collection) {
        let place = if is_sample {
            "save it as larder.toml and give --config larder.toml"
        } else {
            "add it to yours"
        };
        complain(format_args!(
            "{undeclared}; --declare instead prints a declaration made from the file: {place}"
        ));
        return WRONG;
    }
    let opened = match args.dry_run {
        true => open_in_memory(&config, &args.collection).await.map(|collection| (collection, None)),
        false => open(&config, &args.collection).await,
    };
    let (collection, _claim) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            complain(&error);
            return WRONG;
        }
    };
    let imported = import::run(args, &collection).await;
    let is_told = redis_is_told(&collection).await;
    let code = match imported {
        Ok(outcome) => finish(Ok(outcome.to_string()), if outcome.rejected > 0 { TROUBLE } else { OK }),
        Err(error) => finish(Err(error), WRONG),
    };
    if is_told {
        return code;
    }
    complain(format_args!(
        "Redis did not acknowledge what was imported, and nothing is kept after this command: servers may serve what was cached \
         before until it expires; run `larder purge {} --all` when Redis answers",
        args.collection
    ));
    code.max(TROUBLE)
}

/// Waits until Redis has acknowledged all that was written, as long as a command may take. What it has not is sent again and again.
async fn redis_is_told(collection: &Collection) -> bool {
    let of = |stats: CacheStats| stats.invalidations_owed;
    let owed = || of(collection.stats()) + collection.list_stats().map_or(0, of);
    let told = async {
        let mut looks = interval(Duration::from_millis(20));
        while owed() > 0 {
            looks.tick().await;
        }
    };
    timeout(REDIS_PATIENCE, told).await.is_ok()
}

fn finish(said: Result<String>, code: u8) -> u8 {
    match said {
        Ok(text) => {
            say(text);
            code
        }
        Err(error) => {
            complain(error);
            WRONG
        }
    }
}

/// The declared collection over nothing: a dry run looks at the documents alone, and leaves no trace.
async fn open_in_memory(config: &Config, name: &str) -> Result<Collection> {
    open_collection(&Database::sqlite_in_memory().await?, None, find_collection(config, name)?)
}

/// The collection, and the right to write to it while it is embedded. With Redis if there is one: what was known to be
/// absent must be forgotten there.
async fn open(config: &Config, name: &str) -> Result<(Collection, Option<Claim>)> {
    let declared = find_collection(config, name)?;
    let claim = claim(config)?;
    let database = open_database(config).await?;
    let redis = match &config.redis.url {
        Some(_) => Some(open_redis(&config.redis).await?),
        None => None,
    };
    Ok((open_collection(&database, redis.as_ref(), declared)?, claim))
}
