//! One node of an application, which reads and writes by one pattern.

use std::time::Duration;

use larder::{Cache, Policy, Result, cache::WriteBehind, redis::Redis};

use super::database::{Database, row};

/// How long an entry is fresh.
pub const TTL: Duration = Duration::from_secs(2);

/// How a node reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// The database alone.
    None,
    /// `get_with`; the database is written and the key invalidated.
    Aside,
    /// `get` over a source.
    ReadThrough,
    /// The same, with stale values while they are refreshed.
    StaleWhileRevalidate,
    /// `get` over a source, refreshed before the expiry.
    RefreshAhead,
    /// Writes by `guarded_write`.
    Guarded,
    /// Writes by `put`, which leaves the value.
    Through,
    /// Writes by `put`: the sink, then the invalidation.
    Around,
    /// Writes by `put`, acknowledged by Redis.
    Behind,
}

/// All patterns, in the order of the tables.
pub const ALL: [Pattern; 9] = [
    Pattern::None,
    Pattern::Aside,
    Pattern::ReadThrough,
    Pattern::StaleWhileRevalidate,
    Pattern::RefreshAhead,
    Pattern::Guarded,
    Pattern::Through,
    Pattern::Around,
    Pattern::Behind,
];

impl Pattern {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no cache",
            Self::Aside => "cache-aside",
            Self::ReadThrough => "read-through",
            Self::StaleWhileRevalidate => "read-through and stale-while-revalidate",
            Self::RefreshAhead => "read-through and refresh-ahead",
            Self::Guarded => "guarded write",
            Self::Through => "write-through",
            Self::Around => "write-around",
            Self::Behind => "write-behind",
        }
    }

    /// The name in keys.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Aside => "aside",
            Self::ReadThrough => "read",
            Self::StaleWhileRevalidate => "swr",
            Self::RefreshAhead => "ahead",
            Self::Guarded => "guarded",
            Self::Through => "through",
            Self::Around => "around",
            Self::Behind => "behind",
        }
    }

    fn policy(self) -> Policy {
        let policy = Policy::ttl(TTL);
        match self {
            Self::StaleWhileRevalidate => policy.stale_while_revalidate(TTL),
            Self::RefreshAhead => policy.refresh_ahead(1.0),
            _ => policy,
        }
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    pattern: Pattern,
    cache: Cache<String, String>,
    database: Database,
}

impl Node {
    /// A node over this Redis and this database.
    ///
    /// # Errors
    /// As the cache's builder.
    pub fn new(pattern: Pattern, redis: &Redis, space: &str, database: &Database) -> Result<Self> {
        let mut builder = Cache::builder(space)
            .redis(redis)
            .policy(pattern.policy())
            .source(database.clone())
            .sink(database.clone());
        if pattern == Pattern::Through {
            builder = builder.write_through();
        }
        if pattern == Pattern::Behind {
            builder = builder.write_behind(WriteBehind::default());
        }
        Ok(Self { pattern, cache: builder.build()?, database: database.clone() })
    }

    /// Reads one row.
    ///
    /// # Errors
    /// As the cache's.
    pub async fn read(&self, key: &String) -> Result<Option<String>> {
        let value = match self.pattern {
            Pattern::None => return Ok(self.database.read(key).await),
            Pattern::Aside => {
                let (database, wanted) = (self.database.clone(), key.clone());
                self.cache.get_with(key, move || async move { Ok(database.read(&wanted).await) }).await?
            }
            _ => self.cache.get(key).await?,
        };
        Ok(value.as_deref().cloned())
    }

    /// Writes one row and returns when the writer may go on.
    ///
    /// # Errors
    /// As the cache's.
    pub async fn write(&self, key: &String, version: u64) -> Result<()> {
        match self.pattern {
            Pattern::None => self.database.write(key, version).await,
            Pattern::Aside | Pattern::ReadThrough | Pattern::StaleWhileRevalidate | Pattern::RefreshAhead => {
                self.database.write(key, version).await;
                self.cache.invalidate(key).await?;
            }
            Pattern::Guarded => {
                let write = async {
                    self.database.write(key, version).await;
                    Ok(())
                };
                self.cache.guarded_write(&[key], write).await?.1?;
            }
            Pattern::Through | Pattern::Around | Pattern::Behind => {
                self.cache.put(key, &row(version)).await?
            }
        }
        Ok(())
    }

    /// Waits until everything is in the database.
    pub async fn close(&self) {
        self.cache.close().await;
    }
}
