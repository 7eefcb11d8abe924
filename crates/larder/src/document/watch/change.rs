//! What a change is, and what a batch of changes makes worthless. Pure.

use bson::RawDocument;

use super::start::ResumeToken;
use crate::document::{Id, IdType};

/// What happened to a document or a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A document was inserted.
    Insert,
    /// Fields of a document were changed.
    Update,
    /// A document was replaced.
    Replace,
    /// A document was deleted.
    Delete,
    /// The collection was dropped.
    Drop,
    /// The collection was renamed, or another one took its name.
    Rename,
    /// The database was dropped.
    DropDatabase,
    /// The feed ended, because of one of the three before.
    Invalidate,
    /// A document was found changed by polling.
    Polled,
    /// Something else, of no concern for cached documents.
    Other,
}

impl ChangeKind {
    /// Every kind, in the order in which they are counted.
    pub const ALL: [Self; 10] = [
        Self::Insert,
        Self::Update,
        Self::Replace,
        Self::Delete,
        Self::Drop,
        Self::Rename,
        Self::DropDatabase,
        Self::Invalidate,
        Self::Polled,
        Self::Other,
    ];

    /// A stable name, used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Drop => "drop",
            Self::Rename => "rename",
            Self::DropDatabase => "drop_database",
            Self::Invalidate => "invalidate",
            Self::Polled => "polled",
            Self::Other => "other",
        }
    }

    /// By the name in a change event.
    fn of_event(name: &str) -> Self {
        match name {
            "dropDatabase" => Self::DropDatabase,
            "polled" => Self::Other,
            name => Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Other),
        }
    }
}

/// One change of a watched collection. What the document has become is not in it: whoever reads it again sees that, or what is
/// newer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What happened. Never [`ChangeKind::Other`].
    pub kind: ChangeKind,
    /// The document, by its `documentKey`. `None` if the change is of the whole collection, or of a document whose id is not of the
    /// declared kind.
    pub id: Option<Id>,
    /// When it happened, in milliseconds since 1970 by the database's clock, if that is known: to the millisecond from MongoDB 6.0 on,
    /// before that to the second. For [`ChangeKind::Polled`] what the document's field says.
    pub at_unix_ms: Option<u64>,
}

/// Changes that came together, as what they make worthless.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// In their order.
    pub(super) changes: Vec<Change>,
    /// Whether the whole collection is concerned.
    pub(super) clears: bool,
    /// Whether the feed ended with it.
    pub(super) ended: bool,
    /// Documents whose id is not of the collection's kind: they cannot be cached.
    pub(super) foreign: u64,
    pub(super) kinds: [u64; ChangeKind::ALL.len()],
    /// When the newest change happened, by the database's wall clock.
    pub(super) newest_unix_ms: Option<u64>,
    /// Where the feed goes on behind it.
    pub(super) token: Option<ResumeToken>,
}

impl Batch {
    /// How many there are, those of no concern included.
    pub(super) fn len(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// The documents that were changed, each once: a hot one may come a hundred times.
    pub(super) fn ids(&self) -> Vec<&Id> {
        let mut ids: Vec<&Id> = self.changes.iter().filter_map(|change| change.id.as_ref()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn add(&mut self, change: Change) {
        self.kinds[change.kind as usize] += 1;
        self.newest_unix_ms = self.newest_unix_ms.max(change.at_unix_ms);
        if change.kind != ChangeKind::Other {
            self.changes.push(change);
        }
    }

    /// Adds a change event in the form of MongoDB's manual. Looks at the key of the document alone: its content would be that
    /// of another moment.
    pub(super) fn add_event(&mut self, event: &RawDocument, id_type: IdType) {
        let kind = ChangeKind::of_event(event.get_str("operationType").unwrap_or_default());
        let mut change = Change { kind, id: None, at_unix_ms: unix_ms_of(event) };
        match kind {
            ChangeKind::Insert | ChangeKind::Update | ChangeKind::Replace | ChangeKind::Delete => {
                match event.get_document("documentKey").map(|key| id_type.read_raw(key)) {
                    Ok(Ok(id)) => change.id = Some(id),
                    Ok(Err(_)) => self.foreign += 1,
                    // A change of nobody knows what: nothing may stay.
                    Err(_) => self.clears = true,
                }
            }
            ChangeKind::Drop | ChangeKind::Rename | ChangeKind::DropDatabase | ChangeKind::Invalidate => {
                self.clears = true;
            }
            ChangeKind::Polled | ChangeKind::Other => {}
        }
        self.add(change);
    }
}

/// The wall clock of the change (MongoDB 6.0), else the second of its cluster time.
fn unix_ms_of(event: &RawDocument) -> Option<u64> {
    if let Ok(at) = event.get_datetime("wallTime") {
        return u64::try_from(at.timestamp_millis()).ok();
    }
    let at = event.get_timestamp("clusterTime").ok()?;
    Some(u64::from(at.time) * 1_000)
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc};

    use super::*;

    fn batch(id_type: IdType, events: &[Document]) -> Batch {
        let mut batch = Batch::default();
        for event in events {
            let raw = RawDocumentBuf::try_from(event).expect("a document");
            batch.add_event(&raw, id_type);
        }
        batch
    }

    #[test]
    fn a_document_is_named_by_its_key_and_never_by_its_content() {
        let event = doc! {
            "operationType": "update", "documentKey": { "region": "eu", "_id": 7 },
            "fullDocument": { "_id": 8 }, "updateDescription": { "updatedFields": { "_id": 9 } },
        };
        let batch = batch(IdType::Int, &[event.clone(), event]);
        assert_eq!(batch.ids(), [&Id::Int(7)], "once, whatever the shard key");
        assert_eq!(batch.changes.len(), 2, "and told as often as it happened");
        assert_eq!(batch.kinds[ChangeKind::Update as usize], 2);
        assert!(!batch.clears);
    }

    #[test]
    fn what_concerns_the_collection_clears_it() {
        for name in ["drop", "rename", "dropDatabase", "invalidate"] {
            let batch = batch(IdType::Int, &[doc! { "operationType": name }]);
            assert!(batch.clears && batch.ids().is_empty(), "{name}");
            assert_eq!((batch.len(), batch.changes.len()), (1, 1));
        }
    }

    #[test]
    fn kinds_of_the_future_are_counted_and_change_nothing() {
        for name in ["createIndexes", "shardCollection", "polled", "what MongoDB 12 has", ""] {
            let batch = batch(IdType::Int, &[doc! { "operationType": name, "documentKey": { "_id": 1 } }]);
            assert!(!batch.clears && batch.ids().is_empty(), "{name}");
            assert_eq!(batch.kinds[ChangeKind::Other as usize], 1, "{name}");
        }
    }

    #[test]
    fn a_change_without_a_key_may_be_of_any_document() {
        assert!(batch(IdType::Int, &[doc! { "operationType": "delete" }]).clears);
    }

    #[test]
    fn a_document_of_another_kind_is_none_that_could_be_cached() {
        let event = doc! { "operationType": "insert", "documentKey": { "_id": { "a": 1 } } };
        let batch = batch(IdType::Int, &[event]);
        assert_eq!((batch.foreign, batch.ids().len(), batch.clears), (1, 0, false));
    }

    #[test]
    fn the_newest_time_is_the_wall_clock_or_else_the_cluster_time() {
        let at = |ms| doc! { "operationType": "insert", "documentKey": { "_id": 1 }, "wallTime": DateTime::from_millis(ms) };
        let timed = batch(IdType::Int, &[at(5_000), at(7_250), at(6_000)]);
        assert_eq!(timed.newest_unix_ms, Some(7_250));
        let old = doc! { "operationType": "drop", "clusterTime": Timestamp { time: 9, increment: 3 } };
        assert_eq!(batch(IdType::Int, &[old]).newest_unix_ms, Some(9_000));
    }
}
