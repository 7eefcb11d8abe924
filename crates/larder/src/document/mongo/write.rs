//! Writes: each is one atomic command, with its condition checked by the server.
//!
//! "Still in the state with this tag" cannot be asked of MongoDB, which knows no tags. So the document is read, its tag
//! compared, and the write carries the whole document that was read: it applies only to a document that is equal to it
//! (`$$ROOT` against a literal). Two documents that differ in nothing but the type of a number (1 and 1.0) are equal to
//! MongoDB, and a document travels along with its condition, so both together must keep within 16 MiB.

use std::{collections::HashMap, sync::Arc};

use bson::{Document, RawDocumentBuf, doc};
use futures_util::{StreamExt, stream};
use mongodb::{
    error::{ErrorKind as Driver, InsertManyError},
    options::ReturnDocument,
};

use super::{MongoCollection, collection::by_id, error, filter::to_query, patch};
use crate::{
    Error, ErrorKind, Result,
    document::{
        Etag, Expect, Filter, Id, MergePatch, StoredDocument, Written, raw,
        store::Replaced,
        write::{Demand, check_size, taken, with_id},
    },
};

/// How often a read-then-write is tried when others write the same document in between.
const ATTEMPTS: usize = 16;

/// How many documents of one call are put at the same time; the driver's pool has ten connections for each server.
const PUTS_AT_ONCE: usize = 8;

/// What a demand says about the document that is there.
enum Found {
    /// There is none that the writer may touch.
    Missing,
    Changed,
    Holds(RawDocumentBuf),
}

impl MongoCollection {
    /// Inserts the documents in one command; one that is refused leaves the others alone. Has the deadline once for each
    /// hundred of them.
    pub(crate) async fn insert_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        let mut outcomes: Vec<Result<()>> = documents.iter().map(|(_, document)| check(document)).collect();
        let accepted: Vec<usize> = (0..documents.len()).filter(|index| outcomes[*index].is_ok()).collect();
        if accepted.is_empty() {
            return Ok(outcomes);
        }
        let sent = accepted.iter().map(|index| &documents[*index].1);
        let insert = self.driver().insert_many(sent).ordered(false);
        let refused = self
            .write(accepted.len(), async {
                match insert.await {
                    Ok(_) => Ok(InsertManyOutcome::default()),
                    Err(error) => InsertManyOutcome::of(error),
                }
            })
            .await
            // The driver cuts what is too long into several commands.
            .map_err(|error| if accepted.len() > 1 { error.unmarked() } else { error })?;
        for (index, error) in refused.by_index {
            if let Some(outcome) = accepted.get(index).and_then(|index| outcomes.get_mut(*index)) {
                *outcome = Err(error);
            }
        }
        match refused.unconfirmed {
            Some(error) => Err(error),
            None => Ok(outcomes),
        }
    }

    /// Inserts the documents in one command, then puts those whose id is taken in the place of what is there, several at
    /// a time. Each of these calls has its deadline.
    pub(crate) async fn put_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        let mut outcomes = self.insert_many(documents.clone()).await?;
        let is_taken = |error: &Error| error.kind() == ErrorKind::Conflict && error.field() == Some("_id");
        let mut seen = HashMap::new();
        for (at, (id, raw)) in documents.iter().enumerate() {
            if outcomes[at].as_ref().is_err_and(is_taken) {
                // Of two with the same id the last one stays; the earlier one was written and is gone again.
                if let Some((earlier, _)) = seen.insert(id, (at, raw)) {
                    outcomes[earlier] = Ok(());
                }
            }
        }
        let put = |(id, (at, raw)): (&Id, (usize, &RawDocumentBuf))| {
            let (id, raw) = (id.clone(), raw.clone());
            async move { (at, self.upsert(&id, raw, &Filter::All).await) }
        };
        let mut puts =
            stream::iter(seen.into_iter().map(put).collect::<Vec<_>>()).buffer_unordered(PUTS_AT_ONCE);
        while let Some((at, put)) = puts.next().await {
            outcomes[at] = match put {
                // About the database, not about the document: the others would fare no better.
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                    return Err(error.unmarked());
                }
                other => other.map(drop),
            };
        }
        Ok(outcomes)
    }

    pub(crate) async fn replace(
        &self,
        id: &Id,
        document: Document,
        demand: &Demand,
        upsert: bool,
    ) -> Result<Replaced> {
        let raw = with_id(id, &document)?;
        check(&raw)?;
        let written = match demand.expect {
            _ if !demand.covers(&raw)? => Written::Outside,
            Expect::Any if upsert => return self.upsert(id, raw, &demand.rows).await,
            Expect::Any | Expect::Present => match self.swap(within(id, &demand.rows), &raw).await? {
                true => done(raw)?,
                false => Written::Missing,
            },
            Expect::Etag(_) => self.change(id, demand, |_| Ok(raw.clone())).await?,
        };
        Ok(Replaced { written, inserted: false })
    }

    async fn upsert(&self, id: &Id, raw: RawDocumentBuf, rows: &Filter) -> Result<Replaced> {
        for _ in 0..ATTEMPTS {
            let upsert = self
                .driver()
                .find_one_and_replace(within(id, rows), &raw)
                .upsert(true)
                .projection(doc! { "_id": 1 })
                .return_document(ReturnDocument::Before)
                .max_time(self.server_limit());
            match self.write(1, async { upsert.await }).await {
                Ok(before) => return Ok(Replaced { written: done(raw)?, inserted: before.is_none() }),
                // Somebody inserted the same id in between: now there is something to replace. Or it is one that the writer
                // may not touch, so that there is nothing to replace and the id is taken.
                Err(error) if error.kind() == ErrorKind::Conflict && error.field() == Some("_id") => {
                    let is_outside = *rows != Filter::All
                        && self.get(id).await?.map_or(Ok(false), |it| rows.matches(&it).map(|mine| !mine))?;
                    if is_outside {
                        return Err(taken());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(contended())
    }

    /// Replaces the document that meets `condition`; whether there was one.
    async fn swap(&self, condition: Document, raw: &RawDocumentBuf) -> Result<bool> {
        let replace = self
            .driver()
            .find_one_and_replace(condition, raw)
            .projection(doc! { "_id": 1 })
            .max_time(self.server_limit());
        self.write(1, async { replace.await }).await.map(|before| before.is_some())
    }

    /// One update where MongoDB's operators can say it; else read, merge, and write if nothing changed in between.
    pub(crate) async fn patch(&self, id: &Id, patch: &MergePatch, demand: &Demand) -> Result<Written> {
        // Where the patch might leave a required field out, or a document that the writer may not touch, the whole document
        // has to be looked at.
        let needs_a_look = self.schema().shape().is_missed_by(patch.changes())
            || demand.rows.paths().into_iter().any(|path| patch.touches(path));
        let direct = patch::to_update(patch).filter(|_| !needs_a_look);
        if let (Expect::Any | Expect::Present, Some(direct)) = (&demand.expect, direct) {
            let mut condition = within(id, &demand.rows);
            condition.extend(direct.condition);
            let update = self
                .driver()
                .find_one_and_update(condition, direct.update)
                .return_document(ReturnDocument::After)
                .max_time(self.server_limit());
            if let Some(after) = self.write(1, async { update.await }).await? {
                return done(after);
            }
        }
        self.change(id, demand, |current| patch.apply(current, self.schema())).await
    }

    pub(crate) async fn delete(&self, id: &Id, demand: &Demand) -> Result<Written> {
        for _ in 0..ATTEMPTS {
            let condition = match demand.expect {
                Expect::Any | Expect::Present => within(id, &demand.rows),
                Expect::Etag(_) => match self.look(id, demand).await? {
                    Found::Missing => return Ok(Written::Missing),
                    Found::Changed => return Ok(Written::Changed),
                    Found::Holds(current) => exactly(id, &current)?,
                },
            };
            let delete = self.driver().find_one_and_delete(condition).max_time(self.server_limit());
            match (self.write(1, async { delete.await }).await?, &demand.expect) {
                (Some(deleted), _) => return done(deleted),
                (None, Expect::Any | Expect::Present) => return Ok(Written::Missing),
                (None, Expect::Etag(_)) => {}
            }
        }
        Err(contended())
    }

    /// Reads the document, works out its next state, and writes that if the document is still as it was read.
    async fn change(
        &self,
        id: &Id,
        demand: &Demand,
        next: impl Fn(&RawDocumentBuf) -> Result<RawDocumentBuf>,
    ) -> Result<Written> {
        for _ in 0..ATTEMPTS {
            let current = match self.look(id, demand).await? {
                Found::Missing => return Ok(Written::Missing),
                Found::Changed => return Ok(Written::Changed),
                Found::Holds(current) => current,
            };
            let next = next(&current)?;
            check(&next)?;
            if !demand.covers(&next)? {
                return Ok(Written::Outside);
            }
            if next == current || self.swap(exactly(id, &current)?, &next).await? {
                return done(next);
            }
        }
        Err(contended())
    }

    async fn look(&self, id: &Id, demand: &Demand) -> Result<Found> {
        Ok(match (self.get(id).await?, &demand.expect) {
            (None, _) => Found::Missing,
            (Some(current), _) if !demand.covers(&current)? => Found::Missing,
            (Some(current), Expect::Etag(etag)) if *etag != Etag::of(current.as_bytes()) => Found::Changed,
            (Some(current), _) => Found::Holds(current),
        })
    }
}

/// The condition that a document has this id and matches.
fn within(id: &Id, rows: &Filter) -> Document {
    let mut condition = by_id(id);
    if *rows != Filter::All {
        condition.insert("$and", [to_query(rows)].to_vec());
    }
    condition
}

/// What a command that inserts several documents refused.
#[derive(Default)]
struct InsertManyOutcome {
    by_index: HashMap<usize, Error>,
    /// Set when it is not known whether what was written will last.
    unconfirmed: Option<Error>,
}

impl InsertManyOutcome {
    /// The refusals in `error`; an error of the whole command stays one.
    fn of(error: mongodb::error::Error) -> mongodb::error::Result<Self> {
        match error.kind.as_ref() {
            Driver::InsertMany(InsertManyError { write_errors, write_concern_error, .. }) => {
                let refused = write_errors.iter().flatten();
                Ok(Self {
                    by_index: refused.map(|refused| (refused.index, error::from_indexed(refused))).collect(),
                    unconfirmed: write_concern_error
                        .as_ref()
                        .map(|error| error::from_write_concern(&error.code_name)),
                })
            }
            _ => Err(error),
        }
    }
}

/// The condition that the document is still equal to `current`.
fn exactly(id: &Id, current: &RawDocumentBuf) -> Result<Document> {
    let current = Document::try_from(current.as_ref()).map_err(|_| raw::Malformed)?;
    let mut condition = by_id(id);
    condition.insert("$expr", doc! { "$eq": ["$$ROOT", { "$literal": current }] });
    Ok(condition)
}

fn check(document: &RawDocumentBuf) -> Result<()> {
    check_size(document.as_bytes().len())?;
    raw::validate(document.as_bytes())?;
    Ok(())
}

fn done(raw: RawDocumentBuf) -> Result<Written> {
    Ok(Written::Done(Arc::new(StoredDocument::new(raw)?)))
}

fn contended() -> Error {
    Error::new(ErrorKind::Conflict, "others kept changing the document")
}
