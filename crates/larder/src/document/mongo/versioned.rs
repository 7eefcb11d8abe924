//! Writes that carry versions, many in one command: an older one never overwrites a newer one, however late it comes.
//!
//! Each is an upsert under the condition that no later version is there. Where one is, the condition fails, MongoDB tries to
//! insert, and the id is taken: for this write a success, since a later one has taken its place. Two upserts of one new id at
//! the same time can fail in the same way, so whatever failed is tried once more without the insert, which settles it.

use bson::{Bson, Document, doc};

use super::{MongoCollection, client::server_limit_ms, collection::by_id, error};
use crate::{
    Error, ErrorKind, Result,
    document::{Id, MAX_DOCUMENT_BYTES, write::check_size},
};

/// The field that holds a document's version.
pub(crate) const VERSION: &str = "_cv";
/// The field that says when a removed document was removed, where removals leave a trace.
pub(crate) const REMOVED: &str = "_gone";

/// One write of one document.
#[derive(Clone, Debug)]
pub(crate) struct VersionedWrite {
    pub(crate) id: Id,
    /// `None` removes.
    pub(crate) document: Option<Document>,
    pub(crate) version: i64,
}

/// Whether a removal leaves its version behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removals {
    LeaveNothing,
    LeaveTraces,
}

impl MongoCollection {
    /// Carries the writes out, each of another document, and says of each what became of it. Durable on a majority, unless
    /// the connection's URL asks for another write concern. Two commands at most, three if a write met a later one, for each
    /// 16 MiB.
    pub(crate) async fn apply(&self, writes: &[VersionedWrite], removals: Removals) -> Vec<Result<()>> {
        let mut outcomes: Vec<Result<()>> = writes.iter().map(|_| Ok(())).collect();
        let (mut updates, mut deletes) = (Vec::new(), Vec::new());
        for (at, write) in writes.iter().enumerate() {
            match update_of(write, removals, Insert::IfMissing) {
                Ok(Some(update)) => updates.push((at, update)),
                Ok(None) => deletes.push((at, doc! { "q": condition(write), "limit": 1 })),
                Err(error) => outcomes[at] = Err(error),
            }
        }
        self.send("update", updates, &mut outcomes).await;
        self.send("delete", deletes, &mut outcomes).await;
        let is_met = |error: &Error| error.kind() == ErrorKind::Conflict && error.field() == Some("_id");
        let mut again = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            if outcomes[at].as_ref().is_err_and(is_met) {
                outcomes[at] = Ok(());
                if let Ok(Some(update)) = update_of(write, removals, Insert::Never) {
                    again.push((at, update));
                }
            }
        }
        self.send("update", again, &mut outcomes).await;
        outcomes
    }

    /// Sends statements of one kind in as few commands as they fit into, and notes the refusals.
    async fn send(&self, kind: &str, statements: Vec<(usize, Document)>, outcomes: &mut [Result<()>]) {
        for batch in batches(statements) {
            let (places, batch): (Vec<usize>, Vec<Document>) = batch.into_iter().unzip();
            match self.send_batch(kind, batch).await {
                Ok(reply) => note(&reply, &places, outcomes),
                Err(error) => places.iter().for_each(|at| outcomes[*at] = Err(error.clone())),
            }
        }
    }

    async fn send_batch(&self, kind: &str, batch: Vec<Document>) -> Result<Document> {
        let (count, statements) = (batch.len(), format!("{kind}s"));
        let concern =
            self.driver().write_concern().and_then(|concern| bson::serialize_to_document(concern).ok());
        let command = doc! {
            kind: self.schema().name(),
            statements: batch,
            "ordered": false,
            "writeConcern": concern.unwrap_or_else(|| doc! { "w": "majority" }),
            "maxTimeMS": server_limit_ms(self.deadline()),
        };
        self.call_for(count, async { self.database().run_command(command).await }).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insert {
    IfMissing,
    Never,
}

/// What a document must be like that the write may replace.
fn condition(write: &VersionedWrite) -> Document {
    let mut condition = by_id(&write.id);
    // Not "less than": what somebody else wrote has no version, and is older than all that have one.
    condition.insert(VERSION, doc! { "$not": { "$gte": write.version } });
    condition
}

/// `None` for a removal that leaves nothing: that is no update.
fn update_of(write: &VersionedWrite, removals: Removals, insert: Insert) -> Result<Option<Document>> {
    let mut document = match (&write.document, removals) {
        (Some(document), _) => document.clone(),
        (None, Removals::LeaveTraces) => doc! { REMOVED: bson::DateTime::now() },
        (None, Removals::LeaveNothing) => return Ok(None),
    };
    document.remove("_id");
    document.insert(VERSION, write.version);
    check_size(bytes_of(&document)?)?;
    let is_upsert = insert == Insert::IfMissing;
    // Else a document whose first field begins with "$" would be a list of operators.
    if document.keys().any(|name| name.starts_with('$')) {
        return Err(Error::new(ErrorKind::Invalid, "a field of the document begins with a dollar sign"));
    }
    Ok(Some(doc! { "q": condition(write), "u": document, "upsert": is_upsert }))
}

fn bytes_of(document: &Document) -> Result<usize> {
    let unwritable =
        |error| Error::new(ErrorKind::Invalid, "the document cannot be written as BSON").with_source(error);
    Ok(bson::serialize_to_vec(document).map_err(unwritable)?.len())
}

/// A command is a document itself, and as large as one at most.
fn batches(statements: Vec<(usize, Document)>) -> Vec<Vec<(usize, Document)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut room = 0;
    for (at, statement) in statements {
        // It was written before, so it can be now.
        let bytes = bytes_of(&statement).unwrap_or(MAX_DOCUMENT_BYTES) + 16;
        if bytes > room {
            batches.push(Vec::new());
            room = MAX_DOCUMENT_BYTES;
        }
        room = room.saturating_sub(bytes);
        if let Some(batch) = batches.last_mut() {
            batch.push((at, statement));
        }
    }
    batches
}

/// Notes what the server refused, and whether it can say that the rest will last.
fn note(reply: &Document, places: &[usize], outcomes: &mut [Result<()>]) {
    if let Ok(concern) = reply.get_document("writeConcernError") {
        let error = error::from_write_concern(concern.get_str("codeName").unwrap_or("unknown"));
        places.iter().for_each(|at| outcomes[*at] = Err(error.clone()));
    }
    for refused in reply.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let index = refused.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        let code = refused.get_i32("code").unwrap_or_default();
        let message = refused.get_str("errmsg").unwrap_or_default();
        if let Some(at) = index.and_then(|index| places.get(index)) {
            outcomes[*at] = Err(error::from_write_error(code, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(version: i64, bytes: usize) -> VersionedWrite {
        let document = Some(doc! { "text": "x".repeat(bytes) });
        VersionedWrite { id: Id::Int(version), document, version }
    }

    #[test]
    fn a_batch_is_cut_where_a_command_would_be_too_large() {
        let statement = |version, bytes| {
            let write = write(version, bytes);
            (version as usize, update_of(&write, Removals::LeaveNothing, Insert::IfMissing).unwrap().unwrap())
        };
        let large = MAX_DOCUMENT_BYTES / 2;
        let cut = batches(vec![statement(0, 10), statement(1, large), statement(2, large), statement(3, 10)]);
        let places: Vec<Vec<usize>> =
            cut.iter().map(|batch| batch.iter().map(|(at, _)| *at).collect()).collect();
        assert_eq!(places, [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn what_would_be_read_as_operators_and_what_is_too_large_is_refused_here() {
        let refused = |document| {
            let write = VersionedWrite { id: Id::Int(1), document: Some(document), version: 1 };
            update_of(&write, Removals::LeaveNothing, Insert::Never).unwrap_err().kind()
        };
        assert_eq!(refused(doc! { "$set": { "a": 1 } }), ErrorKind::Invalid);
        assert_eq!(refused(doc! { "a": "x".repeat(MAX_DOCUMENT_BYTES) }), ErrorKind::TooLarge);
    }

    #[test]
    fn refusals_find_their_writes_and_a_concern_that_is_not_met_spoils_all() {
        let mut outcomes = vec![Ok(()), Ok(()), Ok(())];
        let reply = doc! { "writeErrors": [{ "index": 1, "code": 121, "errmsg": "" }] };
        note(&reply, &[0, 2], &mut outcomes);
        let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err().map(Error::kind)).collect();
        assert_eq!(kinds, [None, None, Some(ErrorKind::Invalid)]);
        let reply = doc! { "writeConcernError": { "code": 64, "codeName": "WriteConcernTimeout" } };
        note(&reply, &[0, 1], &mut outcomes);
        let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err().map(Error::kind)).collect();
        assert_eq!(kinds, [Some(ErrorKind::Timeout), Some(ErrorKind::Timeout), Some(ErrorKind::Invalid)]);
    }
}
