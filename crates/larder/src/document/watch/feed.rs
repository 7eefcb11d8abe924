//! Where changes come from.

use std::time::Duration;

#[cfg(feature = "mongo")]
use super::mongo::MongoFeed;
use super::{WatchRole, change::Batch, start::ResumeToken, trouble::Trouble};
use crate::{
    Error, ErrorKind,
    document::{Collection, store::Store},
};

/// The changes of one collection, in their order.
pub(super) enum Feed {
    #[cfg(feature = "mongo")]
    Mongo(Box<MongoFeed>),
}

impl Feed {
    /// Opens the feed behind a token, or at this moment.
    pub(super) async fn open(
        collection: &Collection,
        after: Option<&ResumeToken>,
        _poll_interval: Duration,
    ) -> Result<Self, Trouble> {
        match collection.store() {
            #[cfg(feature = "mongo")]
            Store::Mongo(mongo) => Ok(Self::Mongo(Box::new(MongoFeed::open(mongo, after).await?))),
            #[cfg(feature = "sqlite")]
            Store::Sqlite(_) => Err(Trouble::Unsupported(no_streams())),
        }
    }

    pub(super) fn role(&self) -> WatchRole {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(_) => WatchRole::Leading,
        }
    }

    /// Where it stands.
    pub(super) fn token(&self) -> Option<&ResumeToken> {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(feed) => feed.token(),
        }
    }

    /// The next changes, or none after a while without any.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(feed) => feed.next().await,
        }
    }
}

#[cfg(feature = "sqlite")]
fn no_streams() -> Error {
    Error::new(ErrorKind::Config, "SQLite has no change streams; declare the collection's updated_at field")
}
