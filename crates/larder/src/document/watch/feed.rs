//! Where changes come from.

#[cfg(feature = "mongo")]
use super::mongo::MongoFeed;
use super::{
    WatchRole,
    change::Batch,
    poll::{PollFeed, Polling},
    start::ResumeToken,
    trouble::Trouble,
};
use crate::{
    Error, ErrorKind,
    document::{Collection, store::Store},
};

/// The changes of one collection, in their order.
pub(super) enum Feed {
    #[cfg(feature = "mongo")]
    Mongo(Box<MongoFeed>),
    Poll(Box<PollFeed>),
}

impl Feed {
    /// Opens the feed behind a token, or at this moment: the change stream, or where there is none the poll.
    pub(super) async fn open(
        collection: &Collection,
        after: Option<&ResumeToken>,
        polling: Option<&Polling>,
    ) -> Result<Self, Trouble> {
        let unsupported = match stream(collection, after).await {
            Err(Trouble::Unsupported(error)) => error,
            opened_or_failed => return opened_or_failed,
        };
        let Some(polling) = polling else { return Err(Trouble::Unsupported(unsupported)) };
        let feed = PollFeed::open(collection.store().clone(), polling.clone(), after).await?;
        Ok(Self::Poll(Box::new(feed)))
    }

    pub(super) fn role(&self) -> WatchRole {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(_) => WatchRole::Leading,
            Self::Poll(_) => WatchRole::Polling,
        }
    }

    /// Where it stands.
    pub(super) fn token(&self) -> Option<ResumeToken> {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(feed) => feed.token().cloned(),
            Self::Poll(feed) => Some(feed.token()),
        }
    }

    /// The next changes, or none after a while without any.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        match self {
            #[cfg(feature = "mongo")]
            Self::Mongo(feed) => feed.next().await,
            Self::Poll(feed) => feed.next().await,
        }
    }
}

#[cfg_attr(
    not(feature = "mongo"),
    expect(clippy::unused_async, unused_variables, reason = "only MongoDB is asked")
)]
async fn stream(collection: &Collection, after: Option<&ResumeToken>) -> Result<Feed, Trouble> {
    match collection.store() {
        #[cfg(feature = "mongo")]
        Store::Mongo(mongo) => Ok(Feed::Mongo(Box::new(MongoFeed::open(mongo, after).await?))),
        #[cfg(feature = "sqlite")]
        Store::Sqlite(_) => Err(Trouble::Unsupported(Error::new(
            ErrorKind::Config,
            "SQLite has no change streams; a field that says when a document was changed can be polled",
        ))),
    }
}
