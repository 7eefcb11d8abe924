//! The three scenes. In each the contenders have their turns one after the other, with an empty Redis.

use std::{sync::Arc, time::Duration};

use larder::cache::Consistency;
use larder_testkit::{
    lasting,
    mongo::{self, Server},
};
use redis::Client;
use tokio::join;

use super::{
    BOUND, Failure, KEYS, NODES, TTL, TTL_PAST, cacheable,
    database::Database,
    faults::Ways,
    load::{self, Writers},
    node::Node,
    outcome::Promise,
    past::{self, By, FOLLOWED, Watched},
};

/// The contenders whose writers invalidate, but for the one in JavaScript.
#[derive(Clone, Copy)]
enum Contender {
    Larder(Consistency),
    ByHand,
    Tracked,
    Hitbox,
}

const RIVALS: [Contender; 3] = [Contender::ByHand, Contender::Tracked, Contender::Hitbox];

impl Contender {
    const fn name(self) -> &'static str {
        match self {
            Self::Larder(Consistency::Strict(_)) => "Larder strict",
            Self::Larder(_) => "Larder bounded",
            Self::ByHand => "cache-aside by hand",
            Self::Tracked => "redis-rs client-side caching",
            Self::Hitbox => "hitbox",
        }
    }

    const fn promise(self) -> Promise {
        match self {
            Self::Larder(Consistency::Strict(_)) => Promise::Never,
            Self::Larder(_) => Promise::Bounded,
            _ => Promise::Expiry,
        }
    }

    async fn nodes(self, part: &str, urls: &[String], ttl: Duration) -> Result<Vec<Node>, Failure> {
        let (cache, mut nodes) = (format!("{part} {}", self.name()).replace(' ', "-"), Vec::new());
        for url in urls {
            nodes.push(match self {
                Self::Larder(consistency) => Node::larder(url, &cache, ttl, consistency).await?,
                Self::ByHand => Node::by_hand(url, ttl, false).await?,
                Self::Tracked => Node::by_hand(url, ttl, true).await?,
                Self::Hitbox => Node::hitbox(url, ttl)?,
            });
        }
        Ok(nodes)
    }
}

fn all() -> impl Iterator<Item = Contender> {
    let ours = [Consistency::Bounded(BOUND), Consistency::Strict(BOUND)].map(Contender::Larder);
    ours.into_iter().chain(RIVALS)
}

/// All is well, and whoever writes invalidates.
///
/// # Errors
/// When a server or a contender cannot be had.
pub async fn calm(url: &str, lasts: Duration) -> Result<(), Failure> {
    let part = "staleness";
    let urls = vec![url.to_owned(); NODES];
    for contender in all() {
        empty(url).await?;
        let (nodes, database) = (contender.nodes(part, &urls, TTL).await?, Arc::new(Database::memory()));
        let outcome = load::judge(&nodes, &database, Writers::OnNodes, lasting(lasts)).await?;
        outcome.print(part, contender.name(), contender.promise());
    }
    empty(url).await?;
    let outcome = cacheable::judge(&urls, lasts, TTL, None, lasting(lasts)).await?;
    outcome.print(part, cacheable::NAME, Promise::Expiry);
    Ok(())
}

/// The ways to Redis fail one after the other, and whoever writes invalidates.
///
/// # Errors
/// When a server or a contender cannot be had.
pub async fn faults(url: &str, lasts: Duration) -> Result<(), Failure> {
    let part = "staleness under faults";
    for contender in all() {
        empty(url).await?;
        let ways = Ways::to(url).await?;
        let (nodes, database) =
            (contender.nodes(part, &ways.urls(), TTL).await?, Arc::new(Database::memory()));
        let outcome = load::judge(&nodes, &database, Writers::OnNodes, ways.fail(lasts)).await?;
        outcome.print(part, contender.name(), contender.promise());
    }
    empty(url).await?;
    let ways = Ways::to(url).await?;
    let outcome = cacheable::judge(&ways.urls(), lasts, TTL, None, ways.fail(lasts)).await?;
    outcome.print(part, cacheable::NAME, Promise::Expiry);
    Ok(())
}

/// Another program writes to the database, and tells no cache.
///
/// # Errors
/// When a server or a contender cannot be had.
pub async fn past(url: &str, lasts: Duration) -> Result<(), Failure> {
    let part = "staleness past the cache";
    let (urls, server) = (vec![url.to_owned(); NODES], mongo::shared());
    println!("{part},the database: {:?},1,", server.origin());
    watched(part, url, server, By::Feed, lasts).await?;
    if past::can_poll(server) {
        watched(part, url, server, By::Poll, lasts).await?;
    }
    for contender in RIVALS {
        empty(url).await?;
        let database = Database::mongo(&server.url(&mongo::database_name()), KEYS).await?;
        let (nodes, database) = (contender.nodes(part, &urls, TTL_PAST).await?, Arc::new(database));
        let outcome = load::judge(&nodes, &database, Writers::Past, lasting(lasts)).await?;
        outcome.print_past(part, contender.name(), "");
    }
    empty(url).await?;
    let database = server.url(&mongo::database_name());
    Database::mongo(&database, KEYS).await?;
    let outcome = cacheable::judge(&urls, lasts, TTL_PAST, Some(&database), lasting(lasts)).await?;
    outcome.print_past(part, cacheable::NAME, "");
    Ok(())
}

async fn watched(part: &str, url: &str, server: &Server, by: By, lasts: Duration) -> Result<(), Failure> {
    empty(url).await?;
    let name = mongo::database_name();
    let database = Arc::new(Database::mongo(&server.url(&name), KEYS + FOLLOWED).await?);
    let watched = Watched::open(url, server, &name, by).await?;
    let (contender, target) = match by {
        By::Feed => ("Larder with the change feed", " (target 0)"),
        By::Poll => ("Larder with a poll each second", ""),
    };
    let (outcome, took) = join!(
        load::judge(&watched.nodes, &database, Writers::Past, lasting(lasts)),
        past::follow(&watched.nodes, &database, lasts),
    );
    outcome?.print_past(part, contender, target);
    past::print(part, contender, &took?);
    Ok(())
}

async fn empty(url: &str) -> Result<(), Failure> {
    let mut connection = Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await?;
    Ok(())
}
