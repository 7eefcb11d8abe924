//! The stand-in for a change stream: asks again and again for the documents that say they were changed.
//!
//! A document is found by its declared field alone, so one that was deleted is not, nor one that was changed without the
//! field. Each round asks from a while before the latest time it has seen, because a write may show after others that name
//! a later time. What was found in that while is remembered, so that it is not invalidated again and again.

use std::{collections::HashMap, time::Duration};

use bson::{Bson, DateTime, RawDocument};
use tokio::time::{Instant, sleep_until};

use super::{
    ChangeKind,
    change::{Batch, Change},
    start::ResumeToken,
    trouble::Trouble,
};
use crate::{
    Clock, Error, ErrorKind, Result, SystemClock,
    document::{CompareOp, Direction, Filter, Find, Id, IdType, Position, SortKey, store::Store},
};

/// How much later than others a write may show that names an earlier time.
const OVERLAP_MS: i64 = 10_000;
const PAGE: u32 = 500;
/// Past this many documents within the overlap they are invalidated more than once.
const MOST_REMEMBERED: usize = 20_000;

/// How a collection is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Polling {
    /// The dotted path of a date.
    pub(super) field: String,
    pub(super) interval: Duration,
}

/// A collection that is polled.
pub(super) struct PollFeed {
    store: Store,
    polling: Polling,
    /// Everything up to here was seen, the overlap apart.
    seen_ms: i64,
    /// What this round has found last, and where it goes on.
    round: Option<(i64, Position)>,
    next_round: Instant,
    remembered: HashMap<Id, i64>,
}

impl PollFeed {
    /// Goes on from a token, or begins at the latest time that any document names.
    pub(super) async fn open(
        store: Store,
        polling: Polling,
        after: Option<&ResumeToken>,
    ) -> Result<Self, Trouble> {
        let seen_ms = match after {
            Some(token) => ms_of(token)?,
            None => newest(&store, &polling.field).await?.min(now_ms()),
        };
        let next_round = Instant::now();
        Ok(Self { store, polling, seen_ms, round: None, next_round, remembered: HashMap::new() })
    }

    /// Where it stands.
    pub(super) fn token(&self) -> ResumeToken {
        ResumeToken(format!("{PREFIX}{}", self.seen_ms).into_bytes())
    }

    /// One page of what was changed, or nothing at the end of a round.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call asks again.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        if self.round.is_none() {
            sleep_until(self.next_round).await;
        }
        let page = self.store.find(&self.question()).await?;
        let mut batch = Batch::default();
        let mut latest_ms = self.round.as_ref().map_or(self.seen_ms, |(latest_ms, _)| *latest_ms);
        for document in &page.items {
            let Some(at_ms) = date_of(document, &self.polling.field) else { continue };
            latest_ms = latest_ms.max(at_ms);
            self.note(document, at_ms, &mut batch);
        }
        self.round = page.next.map(|position| (latest_ms, position));
        if self.round.is_none() {
            self.end_round(latest_ms);
        }
        batch.token = Some(self.token());
        Ok(batch)
    }

    fn question(&self) -> Find {
        let field = self.polling.field.clone();
        let from = Bson::DateTime(DateTime::from_millis(self.seen_ms.saturating_sub(OVERLAP_MS)));
        Find {
            filter: Filter::Compare { path: field.clone(), op: CompareOp::Gte, value: from },
            sort: vec![SortKey { path: field.clone(), direction: Direction::Ascending }],
            after: self.round.as_ref().map(|(_, position)| position.clone()),
            offset: 0,
            limit: PAGE,
            fields: Some(vec![field]),
        }
    }

    /// Notes a document, unless it is known to have been changed then.
    fn note(&mut self, document: &RawDocument, at_ms: i64, batch: &mut Batch) {
        let id_type: IdType = self.store.schema().id_type();
        let Ok(id) = id_type.read_raw(document) else {
            batch.foreign += 1;
            return;
        };
        if self.remembered.insert(id.clone(), at_ms) != Some(at_ms) {
            let at_unix_ms = u64::try_from(at_ms).ok();
            batch.add(Change { kind: ChangeKind::Polled, id: Some(id), at_unix_ms });
        }
    }

    fn end_round(&mut self, latest_ms: i64) {
        // A date from the future must not hide what is changed until then.
        self.seen_ms = self.seen_ms.max(latest_ms.min(now_ms()));
        let from_ms = self.seen_ms - OVERLAP_MS;
        self.remembered.retain(|_, at_ms| *at_ms >= from_ms);
        if self.remembered.len() > MOST_REMEMBERED {
            self.remembered.clear();
        }
        self.next_round = Instant::now() + self.polling.interval;
    }
}

/// The latest time that a document names; the beginning of all time if none does.
async fn newest(store: &Store, field: &str) -> Result<i64> {
    let mut find = Find::new(Filter::All, 1);
    find.sort = vec![SortKey { path: field.to_owned(), direction: Direction::Descending }];
    find.fields = Some(vec![field.to_owned()]);
    let page = store.find(&find).await?;
    Ok(page.items.first().and_then(|document| date_of(document, field)).unwrap_or(0))
}

/// The date at a dotted path.
fn date_of(document: &RawDocument, path: &str) -> Option<i64> {
    match path.split_once('.') {
        Some((name, rest)) => date_of(document.get_document(name).ok()?, rest),
        None => Some(document.get_datetime(path).ok()?.timestamp_millis()),
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemClock.unix_ms()).unwrap_or(i64::MAX)
}

/// What tells a token of polling from one of a change stream.
const PREFIX: &str = "polled:";

fn ms_of(token: &ResumeToken) -> Result<i64, Trouble> {
    let text = std::str::from_utf8(&token.0).ok().and_then(|text| text.strip_prefix(PREFIX));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Trouble::HistoryLost(Error::new(ErrorKind::Corrupt, "the resume token is of another kind"))
    })
}
