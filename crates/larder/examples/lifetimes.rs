//! How long an entry lives: "there is none" for a moment (negative caching), each value as long as it says (adaptive TTL), and
//! the entries of an older release not at all (versioned keys).
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example lifetimes`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use larder::{Cache, FakeClock, Policy, Result, cache::CacheBuilder, redis::Redis};
use serde::{Deserialize, Serialize};

const SHORT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Article {
    title: String,
    is_draft: bool,
}

async fn load(id: &str) -> Result<Option<Article>> {
    println!("  the database is asked for {id}");
    let article = |is_draft| Article { title: id.to_owned(), is_draft };
    Ok(match id {
        "printed" => Some(article(false)),
        "draft" => Some(article(true)),
        _ => None,
    })
}

async fn builder(clock: &FakeClock) -> Result<CacheBuilder<String, Article>> {
    let policy = Policy::ttl(Duration::from_secs(600)).jitter(0.0).negative_ttl(Duration::from_secs(5));
    let builder = Cache::builder("articles").policy(policy).clock(clock.clone());
    // Drafts change while somebody writes them.
    let builder = builder.ttl_from(|article: &Article| article.is_draft.then_some(SHORT));
    Ok(match std::env::var("REDIS_URL") {
        Ok(url) => builder.redis(&Redis::connect(url).await?),
        Err(_) => builder,
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = FakeClock::default();
    let articles = builder(&clock).await?.version(1).build()?;
    articles.clear().await?;
    let mut loads = 0;
    for (after, expected) in [(0, 3), (1, 0), (6, 1), (11, 2)] {
        clock.advance(Duration::from_secs(after));
        println!("{after} seconds later:");
        for id in ["printed", "draft", "missing"] {
            articles.get_with(id, || load(id)).await?;
        }
        assert_eq!(articles.stats().loads - loads, expected);
        loads = articles.stats().loads;
    }

    println!("the next release has another idea of an article, and keys of its own:");
    let next = builder(&clock).await?.version(2).build()?;
    next.clear().await?;
    next.get_with("printed", || load("printed")).await?;
    assert_eq!(next.stats().loads, 1, "what the older one has cached is not looked at");
    for cache in [&articles, &next] {
        println!("  {:?}", cache.explain(&"printed".to_owned()).await.slot_key);
    }
    Ok(())
}
