//! The database behind collections: SQLite in a file or in memory, or MongoDB.

#[cfg(feature = "sqlite")]
use std::path::Path;
use std::{sync::Arc, time::Duration};

#[cfg(feature = "mongo")]
use super::mongo::{MongoConfig, MongoDatabase};
#[cfg(feature = "sqlite")]
use super::sqlite::SqliteDatabase;
use super::{
    CollectionBuilder,
    probe::{DatabaseProbe, IndexReport},
    schema::Schema,
    store::Store,
};
use crate::Result;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);

/// A database that collections live in. Cheap to clone; clones share connections.
///
/// Reads and writes of collections run under its deadline: SQLite interrupts a query that passes it, and so does MongoDB.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
/// use larder::document::Database;
/// let database = Database::sqlite_in_memory().await?;
/// database.ping().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    engine: Engine,
    deadline: Duration,
}

#[derive(Clone, Debug)]
enum Engine {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteDatabase),
    #[cfg(feature = "mongo")]
    Mongo(MongoDatabase),
}

impl Database {
    /// Opens the SQLite file at `path`, or makes it. The file belongs to this process while it is open.
    ///
    /// A write is durable over a crash of the process; a power cut can lose the last moments of writes, never part of one.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` if the file cannot be opened, `ErrorKind::Corrupt` if it is not a SQLite database.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(path: impl AsRef<Path>) -> Result<Self> {
        let database = SqliteDatabase::open(path.as_ref()).await?;
        Ok(Self { engine: Engine::Sqlite(database), deadline: DEFAULT_DEADLINE })
    }

    /// A SQLite database in memory, gone with its last clone. Reads and writes share one connection.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` if SQLite cannot start.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite_in_memory() -> Result<Self> {
        Ok(Self { engine: Engine::Sqlite(SqliteDatabase::in_memory()?), deadline: DEFAULT_DEADLINE })
    }

    /// A database in MongoDB, 4.4 or newer. Does no I/O but DNS for a `mongodb+srv` URL: a server that is away at the
    /// start is found when it comes, and [`Database::ping`] tells.
    ///
    /// # When MongoDB is down
    /// A call is refused as unavailable within the configuration's selection timeout, and at once when the server has been
    /// away for that long. A server that keeps silent costs each call its deadline until it counts as gone. Every call
    /// works again by itself when the server does.
    ///
    /// # Errors
    /// `ErrorKind::Config` if the URL cannot be read or names no database; its credentials are in no message.
    #[cfg(feature = "mongo")]
    pub async fn mongo(config: impl Into<MongoConfig>) -> Result<Self> {
        let database = MongoDatabase::open(config.into()).await?;
        Ok(Self { engine: Engine::Mongo(database), deadline: DEFAULT_DEADLINE })
    }

    /// The time a call may take, the wait for a connection included; applies to collections made afterwards.
    /// Default: 2 s.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The time a call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// `ErrorKind::Unavailable` or `ErrorKind::Timeout` if it gives none.
    pub async fn ping(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite(database) => database.ping(self.deadline).await,
            #[cfg(feature = "mongo")]
            Engine::Mongo(database) => database.ping(self.deadline).await,
        }
    }

    /// Asks the database what it is and what it can do.
    ///
    /// # Errors
    /// As [`Database::ping`].
    pub async fn probe(&self) -> Result<DatabaseProbe> {
        match &self.engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite(database) => database.probe(self.deadline).await,
            #[cfg(feature = "mongo")]
            Engine::Mongo(database) => database.probe(self.deadline).await,
        }
    }

    /// Begins a cached collection of this database.
    pub fn collection(&self, schema: Schema) -> CollectionBuilder {
        CollectionBuilder::new(self.clone(), schema)
    }

    /// For each filter and sort that `schema` declares, the index that serves it, or none.
    ///
    /// # Errors
    /// As [`Database::ping`].
    pub async fn index_report(&self, schema: &Schema) -> Result<Vec<IndexReport>> {
        self.store(Arc::new(schema.clone()))?.index_report().await
    }

    /// The store of one collection. Does no I/O: table and indexes are made by the first call.
    ///
    /// # Errors
    /// `ErrorKind::Config` if the schema cannot work in this database.
    pub(crate) fn store(&self, schema: Arc<Schema>) -> Result<Store> {
        schema.validate()?;
        match &self.engine {
            #[cfg(feature = "sqlite")]
            Engine::Sqlite(database) => Ok(Store::Sqlite(database.collection(schema, self.deadline))),
            #[cfg(feature = "mongo")]
            Engine::Mongo(database) => Ok(Store::Mongo(database.collection(schema, self.deadline))),
        }
    }
}
