//! Writes: each is one transaction, with its condition checked inside.

use std::sync::Arc;

use bson::{Document, RawDocumentBuf};
use rusqlite::{Transaction, params};

use super::{
    connection::Connection,
    table::{Table, id_value},
};
use crate::{
    Error, ErrorKind, Result,
    document::{
        Etag, Expect, Id, Schema, StoredDocument, Written, merge::MergePatch, raw, store::Replaced, write,
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
                    0 => Err(Error::new(ErrorKind::Conflict, "the id is taken").with_field("_id")),
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
    expect: &Expect,
    upsert: bool,
) -> Result<Replaced> {
    let raw = write::with_id(id, document)?;
    check(raw.as_bytes())?;
    let transaction = connection.begin()?;
    let inserted = match current(&transaction, table, id)? {
        None if upsert && *expect == Expect::Any => true,
        None => return Ok(Replaced { written: Written::Missing, inserted: false }),
        Some(current) if !holds(expect, &current) => {
            return Ok(Replaced { written: Written::Changed, inserted: false });
        }
        Some(_) => false,
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
    expect: &Expect,
) -> Result<Written> {
    change(connection, table, id, expect, |transaction, current| {
        let raw = patch.apply(&current, schema)?;
        check(raw.as_bytes())?;
        let sql = format!("UPDATE {} SET doc = ?2 WHERE id = ?1", table.name);
        transaction.prepare_cached(&sql)?.execute(params![id_value(id), raw.as_bytes()])?;
        Ok(raw)
    })
}

pub(super) fn delete(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    expect: &Expect,
) -> Result<Written> {
    change(connection, table, id, expect, |transaction, current| {
        let sql = format!("DELETE FROM {} WHERE id = ?1", table.name);
        transaction.prepare_cached(&sql)?.execute(params![id_value(id)])?;
        Ok(current)
    })
}

/// Changes the document that is there if it is as expected. Answers with the document that `change` answers with.
fn change(
    connection: &mut Connection,
    table: &Table,
    id: &Id,
    expect: &Expect,
    change: impl FnOnce(&Transaction<'_>, RawDocumentBuf) -> Result<RawDocumentBuf>,
) -> Result<Written> {
    let transaction = connection.begin()?;
    let Some(current) = current(&transaction, table, id)? else { return Ok(Written::Missing) };
    if !holds(expect, &current) {
        return Ok(Written::Changed);
    }
    let answer = change(&transaction, current)?;
    transaction.commit()?;
    done(answer)
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
