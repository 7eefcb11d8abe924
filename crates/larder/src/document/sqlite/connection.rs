//! One connection: its settings, its functions, and the deadline of the call it serves.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{OpenFlags, Transaction, TransactionBehavior, types::Value};

use super::functions;
use crate::{
    Result,
    document::{Filter, matches::Matcher},
};

/// Looked at about every hundred microseconds of a busy query.
const OPCODES_BETWEEN_DEADLINE_CHECKS: i32 = 2_000;
const STATEMENTS_KEPT: usize = 64;
const WRITER_CACHE_KIB: u32 = 64 * 1024;
/// While an index is made. SQLite sorts as much in memory as it may cache, beside its cache, and merges the rest from a
/// temporary file: with the writer's own size, the memory for it would grow with the collection up to twice that.
const SORTER_CACHE_KIB: u32 = 8 * 1024;
const READER_CACHE_KIB: u32 = 16 * 1024;

/// A connection, used by one call at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sqlite: rusqlite::Connection,
    /// The filter that `bson_match` asks, set by the call that runs.
    filter: CurrentFilter,
}

/// A slot between a connection and its function. Locked for one row at a time, by one thread.
pub(super) type CurrentFilter = Arc<Mutex<Matcher>>;

impl Connection {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Self::prepare(rusqlite::Connection::open(path)?, WRITER_CACHE_KIB)?;
        // With WAL and NORMAL a power cut can lose the last transactions and never tears one.
        connection.sqlite.execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
        )?;
        Ok(connection)
    }

    pub(super) fn open_read_only(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::prepare(rusqlite::Connection::open_with_flags(path, flags)?, READER_CACHE_KIB)
    }

    pub(super) fn open_in_memory() -> Result<Self> {
        Self::prepare(rusqlite::Connection::open_in_memory()?, WRITER_CACHE_KIB)
    }

    fn prepare(sqlite: rusqlite::Connection, cache_kib: u32) -> Result<Self> {
        sqlite.busy_timeout(Duration::from_secs(2))?;
        sqlite.execute_batch(&format!("PRAGMA cache_size = -{cache_kib};"))?;
        sqlite.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let filter = Arc::new(Mutex::new(Matcher::All));
        functions::register(&sqlite, &filter)?;
        Ok(Self { sqlite, filter })
    }

    /// Stops whatever runs after `deadline`; `None` lets it run.
    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        self.sqlite.progress_handler(
            OPCODES_BETWEEN_DEADLINE_CHECKS,
            deadline.map(|deadline| move || Instant::now() > deadline),
        );
    }

    pub(super) fn ping(&self) -> Result<()> {
        self.sqlite.query_row("SELECT 1", [], |_| Ok(()))?;
        Ok(())
    }

    /// Makes `bson_match(doc)` mean this filter, until the next call sets another.
    pub(super) fn set_filter(&self, filter: &Filter) -> Result<()> {
        *self.filter.lock() = Matcher::new(filter)?;
        Ok(())
    }

    /// Makes or drops indexes, in memory that does not depend on the number of documents.
    pub(super) fn change_indexes(&self, sql: &str) -> Result<()> {
        self.with_small_cache(|| self.execute_batch(sql))
    }

    /// The same, all or nothing.
    pub(super) fn change_indexes_at_once(&self, sql: &str) -> Result<()> {
        self.with_small_cache(|| {
            let transaction = Transaction::new_unchecked(&self.sqlite, TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            Ok(transaction.commit()?)
        })
    }

    fn with_small_cache(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.set_cache(SORTER_CACHE_KIB)?;
        let done = work();
        self.set_cache(WRITER_CACHE_KIB)?;
        done
    }

    fn set_cache(&self, kib: u32) -> Result<()> {
        self.execute_batch(&format!("PRAGMA cache_size = -{kib};"))
    }

    pub(super) fn execute_batch(&self, sql: &str) -> Result<()> {
        Ok(self.sqlite.execute_batch(sql)?)
    }

    pub(super) fn prepare_cached(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        Ok(self.sqlite.prepare_cached(sql)?)
    }

    /// The first row's first column, if there is a row.
    pub(super) fn first<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: &[Value],
    ) -> Result<Option<T>> {
        let mut statement = self.sqlite.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// A transaction for one read of several statements: all of them see one state.
    pub(super) fn snapshot<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let transaction = self.sqlite.unchecked_transaction()?;
        let answer = work();
        transaction.rollback()?;
        answer
    }

    /// A transaction that holds the write lock from its beginning, and is undone unless it is committed.
    pub(super) fn begin(&mut self) -> Result<rusqlite::Transaction<'_>> {
        Ok(self.sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_has_its_cache_back_whether_the_indexes_could_be_made_or_not() {
        let connection = Connection::open_in_memory().unwrap();
        let cache = || connection.first::<i64>("PRAGMA cache_size", &[]).unwrap();
        let before = cache();
        connection.execute_batch("CREATE TABLE things (a)").unwrap();
        connection.change_indexes("CREATE INDEX one ON things (a)").unwrap();
        assert_eq!(cache(), before);
        assert!(connection.change_indexes("CREATE INDEX two ON nothing (a)").is_err());
        assert_eq!(cache(), before);
    }
}
