//! The stand-in for a change stream: asks again and again for the documents that say they were changed.
//!
//! A document is found by its declared field alone, so one that was deleted is not, nor one that was changed without the
//! field. Each round asks from a while before the latest time it has seen, because a write may show after others that name
//! a later time. What was found in that while is remembered, so that it is not invalidated again and again. Once the latest time
//! has been known for as long, nothing can show before it any more, and rounds ask from behind it.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

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
    document::{CompareOp, Direction, Filter, Find, IdType, Position, SortKey, store::Store},
};

const PAGE: u32 = 500;

/// How far back a poll looks, and how much of that it remembers.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// How much later than others a write may show that names an earlier time.
    overlap: Duration,
    /// Documents past so many are invalidated in each round until the overlap is behind them.
    most_remembered: usize,
}

/// Of 100,000 documents a hash each, twice: some megabytes.
const REACH: Reach = Reach { overlap: Duration::from_secs(10), most_remembered: 100_000 };

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
    reach: Reach,
    /// Everything up to here was seen, the overlap apart.
    seen_ms: i64,
    /// Since when that is known.
    seen_since: Instant,
    /// Up to here nothing can show any more.
    settled_ms: i64,
    /// What this round has found last, and where it goes on.
    round: Option<(i64, Position)>,
    round_began: Instant,
    next_round: Instant,
    /// What the last round has found, and what this one has: hashes of documents and their times.
    known: HashSet<u64>,
    found: HashSet<u64>,
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
        let now = Instant::now();
        Ok(Self {
            store,
            polling,
            reach: REACH,
            seen_ms,
            seen_since: now,
            settled_ms: i64::MIN,
            round: None,
            round_began: now,
            next_round: now,
            known: HashSet::new(),
            found: HashSet::new(),
        })
    }

    /// Where it stands.
    pub(super) fn token(&self) -> ResumeToken {
        token_of(self.seen_ms)
    }

    /// One page of what was changed, or nothing at the end of a round.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call asks again.
    pub(super) async fn next(&mut self) -> Result<Batch, Trouble> {
        if self.round.is_none() {
            sleep_until(self.next_round).await;
            self.round_began = Instant::now();
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
        let from = Bson::DateTime(DateTime::from_millis(self.reaches_back_to_ms()));
        Find {
            filter: Filter::Compare { path: field.clone(), op: CompareOp::Gte, value: from },
            sort: vec![SortKey { path: field.clone(), direction: Direction::Ascending }],
            after: self.round.as_ref().map(|(_, position)| position.clone()),
            offset: 0,
            limit: PAGE,
            fields: Some(vec![field]),
        }
    }

    fn reaches_back_to_ms(&self) -> i64 {
        let overlap_ms = i64::try_from(self.reach.overlap.as_millis()).unwrap_or(i64::MAX);
        self.seen_ms.saturating_sub(overlap_ms).max(self.settled_ms.saturating_add(1))
    }

    /// Notes a document, unless it is known to have been changed then.
    fn note(&mut self, document: &RawDocument, at_ms: i64, batch: &mut Batch) {
        let id_type: IdType = self.store.schema().id_type();
        let Ok(id) = id_type.read_raw(document) else {
            batch.foreign += 1;
            return;
        };
        let mut hasher = DefaultHasher::new();
        (&id, at_ms).hash(&mut hasher);
        let hash = hasher.finish();
        let is_new = !self.found.contains(&hash) && !self.known.contains(&hash);
        if self.found.len() < self.reach.most_remembered {
            self.found.insert(hash);
        }
        if is_new {
            let at_unix_ms = u64::try_from(at_ms).ok();
            batch.add(Change { kind: ChangeKind::Polled, id: Some(id), at_unix_ms });
        }
    }

    fn end_round(&mut self, latest_ms: i64) {
        // A date from the future must not hide what is changed until then.
        let seen_ms = self.seen_ms.max(latest_ms.min(now_ms()));
        if seen_ms > self.seen_ms {
            (self.seen_ms, self.seen_since) = (seen_ms, Instant::now());
        } else if self.round_began >= self.seen_since + self.reach.overlap {
            self.settled_ms = seen_ms;
        }
        self.known = std::mem::take(&mut self.found);
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

pub(super) fn token_of(seen_ms: i64) -> ResumeToken {
    ResumeToken(format!("{PREFIX}{seen_ms}").into_bytes())
}

pub(super) fn ms_of(token: &ResumeToken) -> Result<i64, Trouble> {
    let text = std::str::from_utf8(&token.0).ok().and_then(|text| text.strip_prefix(PREFIX));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Trouble::HistoryLost(Error::new(ErrorKind::Corrupt, "the resume token is of another kind"))
    })
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::document::{Database, Expect, Field, FieldType, Id, Schema};

    const REMEMBERED: usize = 100;
    const OVERLAP: Duration = Duration::from_millis(400);

    struct Polled {
        store: Store,
        feed: PollFeed,
    }

    impl Polled {
        async fn new() -> Self {
            let database = Database::sqlite_in_memory().await.unwrap();
            let changed_at = Field::new("at", FieldType::Date).filterable().sortable();
            let store = database.store(Schema::new("things", IdType::Int).field(changed_at).into()).unwrap();
            let polling = Polling { field: "at".into(), interval: Duration::from_millis(1) };
            let mut feed = PollFeed::open(store.clone(), polling, None).await.unwrap();
            feed.reach = Reach { overlap: OVERLAP, most_remembered: REMEMBERED };
            Self { store, feed }
        }

        async fn write(&self, ids: std::ops::Range<i64>, at_ms: i64) {
            for id in ids {
                let document: Document = doc! { "_id": id, "at": DateTime::from_millis(at_ms) };
                self.store.replace(&Id::Int(id), document, &Expect::Any, true).await.unwrap();
            }
        }

        /// Whom a whole round finds changed.
        async fn round(&mut self) -> Vec<Id> {
            let mut changed = Vec::new();
            loop {
                let batch = self.feed.next().await.unwrap();
                changed.extend(batch.changes.into_iter().filter_map(|change| change.id));
                if self.feed.round.is_none() {
                    return changed;
                }
            }
        }

        /// Rounds until nothing is read any more.
        async fn settle(&mut self) {
            let until = Instant::now() + Duration::from_secs(20);
            while !self.feed.known.is_empty() || self.feed.settled_ms < self.feed.seen_ms {
                assert!(Instant::now() < until, "the same documents are read again and again");
                self.round().await;
            }
        }
    }

    #[tokio::test]
    async fn more_of_one_moment_than_is_remembered_is_invalidated_until_the_overlap_is_behind_it_and_then_no_more()
     {
        let mut polled = Polled::new().await;
        let moment = now_ms();
        let many = 3 * REMEMBERED as i64;
        polled.write(0..many, moment).await;
        assert_eq!(polled.round().await.len() as i64, many, "all, whatever is remembered");
        assert!(polled.round().await.len() <= many as usize - REMEMBERED, "the remembered ones only once");
        assert_eq!(polled.feed.known.len(), REMEMBERED);
        polled.settle().await;
        for _ in 0..3 {
            assert_eq!(polled.round().await, []);
        }
        polled.write(0..1, moment + 1).await;
        assert_eq!(polled.round().await, [Id::Int(0)], "a change after that is seen, alone");
    }

    #[tokio::test]
    async fn what_shows_late_is_seen_within_the_overlap_of_the_latest_time() {
        let mut polled = Polled::new().await;
        let early = now_ms() - 60_000;
        polled.write(0..1, early).await;
        polled.settle().await;
        polled.write(1..2, early + 10_000).await;
        assert_eq!(polled.round().await, [Id::Int(1)]);
        polled.write(2..3, early + 9_999).await;
        assert_eq!(polled.round().await, [Id::Int(2)], "although a later time was seen");
        assert_eq!(polled.round().await, [], "once");
    }
}
