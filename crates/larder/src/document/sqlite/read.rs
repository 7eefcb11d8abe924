//! Reads: each runs on one connection and sees one state of the database.

use std::{collections::HashMap, time::Instant};

use bson::RawDocumentBuf;
use rusqlite::params_from_iter;

use super::{
    connection::Connection,
    search,
    select::Select,
    table::{Table, id_value},
};
use crate::{
    Result,
    document::{
        Filter, Find, Id, Page,
        aggregate::{Flow, Run, Stage},
        find::Filling,
    },
};

/// The most ids one statement asks for.
const IDS_PER_STATEMENT: usize = 512;

pub(super) fn get(connection: &Connection, table: &Table, id: &Id) -> Result<Option<RawDocumentBuf>> {
    let sql = format!("SELECT doc FROM {} WHERE id = ?1", table.name);
    connection.first::<Vec<u8>>(&sql, &[id_value(id)])?.map(document).transpose()
}

fn document(bytes: Vec<u8>) -> Result<RawDocumentBuf> {
    RawDocumentBuf::from_bytes(bytes).map_err(|_| crate::document::raw::Malformed.into())
}

/// The documents in the order of `ids`.
pub(super) fn get_many(
    connection: &Connection,
    table: &Table,
    ids: &[Id],
) -> Result<Vec<Option<RawDocumentBuf>>> {
    let mut found: HashMap<Id, RawDocumentBuf> = HashMap::with_capacity(ids.len());
    connection.snapshot(|| {
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            // A power of two of parameters keeps the number of different statements small.
            let places = chunk.len().next_power_of_two();
            let sql = format!("SELECT doc FROM {} WHERE id IN (?{})", table.name, ", ?".repeat(places - 1));
            let last = &chunk[chunk.len() - 1];
            let padding = std::iter::repeat_n(last, places - chunk.len());
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(chunk.iter().chain(padding).map(id_value)))?;
            while let Some(row) = rows.next()? {
                let document = document(row.get(0)?)?;
                let id = table.id_type().read_raw(&document)?;
                found.insert(id, document);
            }
        }
        Ok(())
    })?;
    // An id may be asked for twice.
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// A statement in the making, with the indexes that may be used for it now.
fn select<'a>(
    connection: &Connection,
    table: &'a Table,
    filter: &Filter,
    is_page: bool,
) -> Result<Select<'a>> {
    let lead = search::lead(connection, table, filter, is_page)?;
    Ok(Select::new(table, !table.has_multi(connection)?, lead))
}

pub(super) fn find(connection: &Connection, table: &Table, find: &Find) -> Result<Page> {
    connection.set_filter(&find.filter)?;
    let mut page = Filling::new(find);
    connection.snapshot(|| {
        let (sql, values) = select(connection, table, &find.filter, true)?.find(find)?;
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if !page.take(document(row.get(0)?)?) {
                break;
            }
        }
        Ok(())
    })?;
    page.finish()
}

pub(super) fn count_all(connection: &Connection, table: &Table) -> Result<u64> {
    let count: Option<i64> = connection.first(&format!("SELECT COUNT(*) FROM {}", table.name), &[])?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// Whether there is no document. Unlike a count it takes no longer with many of them.
pub(super) fn is_empty(connection: &Connection, table: &Table) -> Result<bool> {
    let first: Option<i64> = connection.first(&format!("SELECT 1 FROM {} LIMIT 1", table.name), &[])?;
    Ok(first.is_none())
}

pub(super) fn count(connection: &Connection, table: &Table, filter: &Filter) -> Result<u64> {
    connection.set_filter(filter)?;
    connection.snapshot(|| {
        let mut select = select(connection, table, filter, false)?;
        select.filter(filter)?;
        let sql = format!("SELECT COUNT(*) FROM {}{}", table.name, select.where_clause());
        let count: Option<i64> = connection.first(&sql, &select.values)?;
        Ok(count.unwrap_or_default().unsigned_abs())
    })
}

/// Runs a pipeline. What it asks for first, matching and ordering, SQLite does with its indexes.
pub(super) fn aggregate(
    connection: &Connection,
    table: &Table,
    mut stages: Vec<Stage>,
    limit: u32,
    deadline: Instant,
) -> Result<Vec<RawDocumentBuf>> {
    let find = take_find(&mut stages);
    connection.set_filter(&find.filter)?;
    let mut run = Run::new(stages, limit as usize, Some(deadline))?;
    connection.snapshot(|| {
        let (sql, values) = select(connection, table, &find.filter, false)?.scan(&find)?;
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if run.push(document(row.get(0)?)?)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    })?;
    run.finish()
}

/// Takes the leading matches, and a sort with its limit behind them, out of the stages.
fn take_find(stages: &mut Vec<Stage>) -> Find {
    let matches = stages.iter().take_while(|stage| matches!(stage, Stage::Match(_))).count();
    let mut find = Find::new(Filter::All, u32::MAX);
    for stage in stages.drain(..matches) {
        if let Stage::Match(filter) = stage {
            find.filter = find.filter.and(filter);
        }
    }
    if let [Stage::Sort(keys), Stage::Limit(limit), ..] = stages.as_slice()
        && let Ok(limit) = u32::try_from(*limit)
    {
        find.sort = keys.clone();
        find.limit = limit;
        stages.drain(..2);
    }
    find
}
