//! Change events.

use bson::{RawDocument, RawDocumentBuf, raw::cstr, rawdoc};

use crate::document::{
    IdType, raw,
    watch::{ChangeKind, change::Batch},
};

/// Of whatever kind an event is, what it touches is forgotten: one document, if it is of the declared kind, or everything if nobody knows
/// which. What the document holds makes no difference.
pub fn change_event(data: &[u8]) {
    let Ok(event) = RawDocument::from_bytes(data) else { return };
    for id_type in [IdType::ObjectId, IdType::String, IdType::Int] {
        let batch = batch_of(event, id_type);
        assert_eq!((batch.len(), batch.ended, &batch.token), (1, false, &None));
        let told = batch.changes.first();
        assert_eq!(batch.changes.len(), usize::from(batch.kinds[ChangeKind::Other as usize] == 0));
        let outcomes = [batch.ids().len() as u64, batch.foreign, batch.clears.into()];
        let expected = u64::from(told.is_some());
        assert_eq!(outcomes.iter().sum::<u64>(), expected, "{batch:?}");
        if let Some(change) = told {
            assert_ne!(change.kind, ChangeKind::Polled);
            assert_eq!(batch.kinds[change.kind as usize], 1);
            assert_eq!(change.at_unix_ms, batch.newest_unix_ms);
            let is_of_one = matches!(
                change.kind,
                ChangeKind::Insert | ChangeKind::Update | ChangeKind::Replace | ChangeKind::Delete
            );
            assert!(is_of_one || batch.clears, "{change:?}");
            assert!(change.id.as_ref().is_none_or(|id| id.id_type() == id_type));
        }
        // A damaged part may take what is behind it along.
        if raw::validate(data).is_ok() {
            assert_eq!(batch_of(&with_content(event), id_type), batch);
        }
    }
}

fn batch_of(event: &RawDocument, id_type: IdType) -> Batch {
    let mut batch = Batch::default();
    batch.add_event(event, id_type);
    batch
}

fn with_content(event: &RawDocument) -> RawDocumentBuf {
    let mut event = event.to_owned();
    event.append(
        cstr!("fullDocument"),
        rawdoc! { "_id": 1, "documentKey": { "_id": 2 }, "operationType": "drop" },
    );
    event
}
