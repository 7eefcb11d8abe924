//! The change stream of one collection.

use std::time::Duration;

use bson::{RawDocumentBuf, doc};
use futures_util::{FutureExt, future::BoxFuture};
use mongodb::{
    change_stream::{ChangeStream, event::ResumeToken as DriverToken},
    error::ErrorKind as Driver,
    options::ReadConcern,
};
use tokio::time::timeout;

use super::{change::Batch, start::ResumeToken, trouble::Trouble};
use crate::{
    Error, ErrorKind,
    document::{
        IdType,
        mongo::{MongoCollection, from_driver},
    },
};

/// How long the server holds a question when there is nothing new.
const AWAIT: Duration = Duration::from_secs(1);
/// How many changes one batch has at most.
const MOST_CHANGES: u64 = 1_000;

/// History lost; the stream or its token cannot be used any more; an event is larger than the server can send.
const LOST: [i32; 7] = [286, 280, 222, 260, 136, 10334, 50811];
/// A server alone, or one that does not know the stage.
const UNSUPPORTED: [i32; 5] = [40573, 40324, 59, 115, 238];

type Stream = ChangeStream<RawDocumentBuf>;
type Answer = mongodb::error::Result<Option<RawDocumentBuf>>;

/// A change stream, read in batches.
pub(super) struct MongoFeed {
    state: State,
    id_type: IdType,
    token: Option<ResumeToken>,
    /// A server that is silent for longer is given up.
    patience: Duration,
}

enum State {
    Idle(Box<Stream>),
    /// A question is under way. It is never dropped while its answer may count: the answer would be lost with it.
    Asking(BoxFuture<'static, (Box<Stream>, Answer)>),
    /// A question never came to its end.
    Broken,
}

impl MongoFeed {
    /// Opens the stream behind a token, or at this moment.
    pub(super) async fn open(
        collection: &MongoCollection,
        after: Option<&ResumeToken>,
    ) -> Result<Self, Trouble> {
        let after = after.map(driver_token).transpose()?;
        // The key is all that is looked at; whole documents stay where they are.
        let wanted = doc! { "operationType": 1, "ns": 1, "documentKey": 1, "clusterTime": 1, "wallTime": 1 };
        let opening = collection
            .driver()
            .watch()
            .pipeline([doc! { "$project": wanted }])
            .read_concern(ReadConcern::majority())
            .batch_size(MOST_CHANGES as u32)
            .max_await_time(AWAIT);
        // Unlike `resumeAfter` it also goes past the end of a dropped collection's feed.
        let opening = match &after {
            Some(token) => opening.start_after(token.clone()),
            None => opening,
        };
        let opened = timeout(collection.deadline(), async { opening.await }).await;
        let stream = opened.map_err(|_| silent())?.map_err(|error| trouble_of(&error))?;
        let token = stream.resume_token().as_ref().map(own_token).transpose()?;
        let state = State::Idle(Box::new(stream.with_type()));
        let patience = AWAIT + collection.deadline();
        Ok(Self { state, id_type: collection.schema().id_type(), token, patience })
    }

    /// Where the stream stands.
    pub(super) fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    /// The next changes: as many as there are, once there is one; none after a second without any.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call goes on.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        loop {
            let patience = self.patience;
            let asking = self.asking()?;
            let answered = if batch.len() == 0 {
                Some(timeout(patience, asking).await.map_err(|_| silent())?)
            } else {
                // What has arrived is taken along, and nothing is waited for.
                asking.now_or_never()
            };
            let Some((stream, answer)) = answered else { break };
            let (is_open, token) = (stream.is_alive(), stream.resume_token());
            self.state = State::Idle(stream);
            let event = answer.map_err(|error| trouble_of(&error))?;
            if let Some(token) = &token {
                self.token = Some(own_token(token)?);
            }
            match event {
                Some(event) => batch.add_event(&event, self.id_type),
                None => {
                    batch.ended = !is_open;
                    break;
                }
            }
            if batch.len() >= MOST_CHANGES {
                break;
            }
        }
        batch.token = self.token.clone();
        Ok(batch)
    }

    /// The question that is under way; asks one if there is none.
    fn asking(&mut self) -> Result<&mut BoxFuture<'static, (Box<Stream>, Answer)>, Trouble> {
        if let State::Idle(_) = self.state
            && let State::Idle(mut stream) = std::mem::replace(&mut self.state, State::Broken)
        {
            let question = async move {
                let answer = stream.next_if_any().await;
                (stream, answer)
            };
            self.state = State::Asking(question.boxed());
        }
        match &mut self.state {
            State::Asking(question) => Ok(question),
            State::Idle(_) | State::Broken => Err(silent()),
        }
    }
}

fn silent() -> Trouble {
    Trouble::Failed(Error::new(ErrorKind::Timeout, "MongoDB did not answer before the deadline"))
}

fn trouble_of(error: &mongodb::error::Error) -> Trouble {
    let translated = from_driver(error).context("follow the change stream");
    if let Driver::Command(refusal) = error.kind.as_ref() {
        if LOST.contains(&refusal.code) || error.contains_label("NonResumableChangeStreamError") {
            return Trouble::HistoryLost(translated);
        }
        if UNSUPPORTED.contains(&refusal.code) {
            return Trouble::Unsupported(translated);
        }
    }
    match translated.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Config => Trouble::Failed(translated),
        _ => Trouble::Refused(translated),
    }
}

/// A token of another feed, or a damaged one, leads nowhere.
pub(super) fn driver_token(token: &ResumeToken) -> Result<DriverToken, Trouble> {
    bson::deserialize_from_slice(&token.0).map_err(|_| {
        Trouble::HistoryLost(Error::new(ErrorKind::Corrupt, "the resume token is of another kind"))
    })
}

pub(super) fn own_token(token: &DriverToken) -> Result<ResumeToken, Trouble> {
    bson::serialize_to_vec(token).map(ResumeToken).map_err(|_| {
        Trouble::Failed(Error::new(ErrorKind::Corrupt, "MongoDB's resume token is not a document"))
    })
}
