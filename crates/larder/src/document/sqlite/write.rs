//! Writes: each is one transaction, with its condition checked inside.

use std::sync::Arc;

use bson::{Document, RawDocumentBuf};
use rusqlite::{Transaction, params};

use super::{
    connection::Connection,
    table::{Table, id_value},
};
use crate::{
    Result,
    document::{
        Etag, Expect, Id, Schema, StoredDocument, Written,
        merge::MergePatch,
        raw,
        store::Replaced,
        write::{self, Demand},
    },
};

/// What becomes of a document whose id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTaken {
    Refuse,
    Replace,
}

/// Writes all documents in one transaction. One that is refused leaves the others alone.
pub(super) fn many(
    connection: &mut Connection,
    table: &Table,
    documents: &[(Id, RawDocumentBuf)],
    on_taken: OnTaken,
) -> Result<Vec<Result<()>>> {
    let transaction = connection.begin()?;
    let mut outcomes = Vec::with_capacity(documents.len());
    {
        let action = match on_taken {
            OnTaken::Refuse => "NOTHING",
            OnTaken::Replace => "UPDATE SET doc = excluded.doc",
        };
        let sql =
            format!("INSERT INTO {} (id, doc) VALUES (?1, ?2) ON CONFLICT (id) DO {action}", table.name);
        let mut statement = transaction.prepare_cached(&sql)?;
        for (id, document) in documents {
            let outcome = match check(document.as_bytes()) {
                Err(error) => Err(error),
                Ok(()) => match statement.execute(params![id_value(id), document.as_bytes()])? {
                    0 => Err(write::taken()),
                    _ => Ok(()),
                },
            };
            outcomes.push(outcome);
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

/// Only sound BSON of a size that MongoDB would take may be stored: the functions in the indexes read it.
fn check(document: &[u8]) -> Result<()> {
    write::check_size(document.len())?;
    raw::validate(document)?;
    Ok(())
}

pub(super) fn replace(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    document: &Document,
    demand: &Demand,
    upsert: bool,
) -> Result<Replaced> {
    let not_written = |written| Ok(Replaced { written, inserted: false });
    let raw = write::with_id(id, document)?;
    check(raw.as_bytes())?;
    if !demand.covers(&raw)? {
        return not_written(Written::Outside);
    }
    let makes = upsert && demand.expect == Expect::Any;
    let transaction = connection.begin()?;
    let inserted = match look(&transaction, table, id, demand)? {
        Found::Missing if makes => true,
        // To whoever may not touch it the id is taken, as it is to one who creates a document.
        Found::Outside if makes => return Err(write::taken()),
        Found::Missing | Found::Outside => return not_written(Written::Missing),
        Found::Changed => return not_written(Written::Changed),
        Found::Holds(_) => false,
    };
    let sql = if inserted {
        format!("INSERT INTO {} (id, doc) VALUES (?1, ?2)", table.name)
    } else {
        format!("UPDATE {} SET doc = ?2 WHERE id = ?1", table.name)
    };
    transaction.prepare_cached(&sql)?.execute(params![id_value(id), raw.as_bytes()])?;
    transaction.commit()?;
    Ok(Replaced { written: done(raw)?, inserted })
}

pub(super) fn patch(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    patch: &MergePatch,
    schema: &Schema,
    demand: &Demand,
) -> Result<Written> {
    change(connection, table, id, demand, |transaction, current| {
        let raw = patch.apply(&current, schema)?;
        check(raw.as_bytes())?;
        if !demand.covers(&raw)? {
            return Ok(None);
        }
        let sql = format!("UPDATE {} SET doc = ?2 WHERE id = ?1", table.name);
        transaction.prepare_cached(&sql)?.execute(params![id_value(id), raw.as_bytes()])?;
        Ok(Some(raw))
    })
}

pub(super) fn delete(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    demand: &Demand,
) -> Result<Written> {
    change(connection, table, id, demand, |transaction, current| {
        let sql = format!("DELETE FROM {} WHERE id = ?1", table.name);
        transaction.prepare_cached(&sql)?.execute(params![id_value(id)])?;
        Ok(Some(current))
    })
}

/// Changes the document that is there if it is as demanded. Answers with the document that `change` answers with; nothing is
/// changed if that is none, because it would be outside.
fn change(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    demand: &Demand,
    change: impl FnOnce(&Transaction<'_>, RawDocumentBuf) -> Result<Option<RawDocumentBuf>>,
) -> Result<Written> {
    let transaction = connection.begin()?;
    let current = match look(&transaction, table, id, demand)? {
        Found::Missing | Found::Outside => return Ok(Written::Missing),
        Found::Changed => return Ok(Written::Changed),
        Found::Holds(current) => current,
    };
    let Some(answer) = change(&transaction, current)? else { return Ok(Written::Outside) };
    transaction.commit()?;
    done(answer)
}

/// What a demand says about the document that is there.
enum Found {
    Missing,
    /// There is one, which the writer may not touch.
    Outside,
    Changed,
    Holds(RawDocumentBuf),
}

fn look(transaction: &Transaction<'_>, table: &Table, id: &Id, demand: &Demand) -> Result<Found> {
    Ok(match current(transaction, table, id)? {
        None => Found::Missing,
        Some(current) if !demand.covers(&current)? => Found::Outside,
        Some(current) if !holds(&demand.expect, &current) => Found::Changed,
        Some(current) => Found::Holds(current),
    })
}

fn current(transaction: &Transaction<'_>, table: &Table, id: &Id) -> Result<Option<RawDocumentBuf>> {
    let sql = format!("SELECT doc FROM {} WHERE id = ?1", table.name);
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params![id_value(id)])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => Ok(Some(RawDocumentBuf::from_bytes(row.get(0)?).map_err(|_| raw::Malformed)?)),
    }
}

fn holds(expect: &Expect, current: &RawDocumentBuf) -> bool {
    match expect {
        Expect::Any | Expect::Present => true,
        Expect::Etag(etag) => *etag == Etag::of(current.as_bytes()),
    }
}

fn done(raw: RawDocumentBuf) -> Result<Written> {
    Ok(Written::Done(Arc::new(StoredDocument::new(raw)?)))
}
