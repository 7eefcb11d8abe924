//! Collections in SQLite: one table a collection, with the id as its key and the document as BSON.
//!
//! SQLite does the searching, ordering and cutting; what it needs to know about BSON are the functions in
//! [`functions`]. Calls run on the blocking pool: one writer, a few readers, each call under a deadline.

mod connection;
mod error;
mod functions;
mod pool;
mod read;
mod search;
mod select;
mod table;
mod write;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bson::{Document, RawDocumentBuf};
use tokio::{sync::OnceCell, time::timeout};

use self::{pool::Pool, search::SearchIndex, table::Table, write::OnTaken};
use super::{
    Filter, Find, Id, IndexedFields, Page, Written,
    aggregate::{Stage, read_stages},
    merge::MergePatch,
    probe::{Capability, DatabaseProbe, IndexReport, Topology},
    schema::Schema,
    store::Replaced,
    write::Demand,
};
use crate::{Error, ErrorKind, Result};

/// A SQLite file, or a database in memory.
#[derive(Clone, Debug)]
pub(crate) struct SqliteDatabase {
    pool: Arc<Pool>,
}

impl SqliteDatabase {
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let pool = pool::on_blocking_pool(move || Pool::open(&path)).await?;
        Ok(Self { pool: Arc::new(pool) })
    }

    pub(crate) fn in_memory() -> Result<Self> {
        Ok(Self { pool: Arc::new(Pool::in_memory()?) })
    }

    pub(crate) fn collection(&self, schema: Arc<Schema>, deadline: Duration) -> SqliteCollection {
        let table = Table::new(&schema);
        SqliteCollection(Arc::new(Inner {
            pool: Arc::clone(&self.pool),
            schema,
            table: Arc::new(table),
            deadline,
            ready: OnceCell::new(),
            indexed: OnceCell::new(),
        }))
    }

    pub(crate) async fn ping(&self, deadline: Duration) -> Result<()> {
        self.pool.read(deadline, |connection| connection.ping()).await
    }

    pub(crate) async fn probe(&self, deadline: Duration) -> Result<DatabaseProbe> {
        self.ping(deadline).await?;
        Ok(DatabaseProbe {
            engine: "sqlite",
            version: rusqlite::version().to_owned(),
            topology: Topology::Embedded,
            wire_version: None,
            server_time: None,
            capabilities: vec![
                Capability {
                    name: "shared",
                    available: false,
                    without: "one process holds the data; several nodes need MongoDB",
                },
                Capability {
                    name: "change streams",
                    available: false,
                    without: "changes made past Larder show when cached copies expire, or by polling a field that dates them",
                },
            ],
        })
    }
}

/// One collection in SQLite. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SqliteCollection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    schema: Arc<Schema>,
    table: Arc<Table>,
    deadline: Duration,
    /// The table is made by the first call.
    ready: OnceCell<()>,
    /// The indexes are made by the first query, or when they are asked for and there are documents. So what fills an
    /// empty table does not keep indexes in step with every insert: making them afterwards is faster.
    indexed: OnceCell<()>,
}

impl SqliteCollection {
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.0.schema
    }

    /// Makes the indexes as declared, if there are documents, and drops those that are no longer declared. Without a
    /// deadline: an index over existing documents takes as long as it takes.
    pub(crate) async fn ensure_indexes(&self) -> Result<()> {
        if self.0.indexed.initialized() || self.read(read::is_empty).await? {
            return Ok(());
        }
        self.index().await
    }

    async fn make_table(&self) -> Result<()> {
        let make = || async {
            let table = Arc::clone(&self.0.table);
            self.0.pool.write_without_deadline(move |connection| table.create(connection)).await
        };
        self.0.ready.get_or_try_init(make).await.map(|_| ())
    }

    async fn index(&self) -> Result<()> {
        self.make_table().await?;
        let make = || async {
            let table = Arc::clone(&self.0.table);
            self.0.pool.write_without_deadline(move |connection| table.create_indexes(connection)).await
        };
        self.0.indexed.get_or_try_init(make).await.map(|_| ())
    }

    /// Reads with the indexes. The first query may have to wait for them, within its deadline; they are made in any case.
    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&connection::Connection, &Table) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if !self.0.indexed.initialized() {
            timeout(self.0.deadline, self.index())
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "the indexes are still being made"))??;
        }
        self.read(work).await
    }

    /// For each declared filter and sort, the index that serves it, or none.
    pub(crate) async fn index_report(&self) -> Result<Vec<IndexReport>> {
        self.index().await?;
        let mut reports = IndexReport::wanted(self.schema());
        for report in &mut reports {
            report.index = self.0.table.index_name(report);
        }
        Ok(reports)
    }

    /// The fields that its indexes begin with, those included that the first query makes.
    pub(crate) async fn indexed_fields(&self) -> Result<IndexedFields> {
        let searched = self.0.table.search.iter().flat_map(SearchIndex::paths).cloned();
        Ok(IndexedFields::new(self.0.table.indexed.iter().cloned()).searched(searched))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&connection::Connection, &Table) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.make_table().await?;
        let table = Arc::clone(&self.0.table);
        self.0.pool.read(self.0.deadline, move |connection| work(connection, &table)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut connection::Connection, &Table) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.make_table().await?;
        let table = Arc::clone(&self.0.table);
        self.0.pool.write(self.0.deadline, move |connection| work(connection, &table)).await
    }

    pub(crate) async fn get(&self, id: &Id) -> Result<Option<RawDocumentBuf>> {
        let id = id.clone();
        self.read(move |connection, table| read::get(connection, table, &id)).await
    }

    pub(crate) async fn get_many(&self, ids: &[Id]) -> Result<Vec<Option<RawDocumentBuf>>> {
        let ids = ids.to_vec();
        self.read(move |connection, table| read::get_many(connection, table, &ids)).await
    }

    pub(crate) async fn find(&self, find: &Find) -> Result<Page> {
        let find = find.clone();
        self.query(move |connection, table| read::find(connection, table, &find)).await
    }

    pub(crate) async fn count(&self, filter: &Filter) -> Result<u64> {
        let filter = filter.clone();
        self.query(move |connection, table| read::count(connection, table, &filter)).await
    }

    pub(crate) async fn estimated_count(&self) -> Result<u64> {
        self.read(read::count_all).await
    }

    pub(crate) async fn insert_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        self.write_many(documents, OnTaken::Refuse).await
    }

    pub(crate) async fn put_many(&self, documents: Vec<(Id, RawDocumentBuf)>) -> Result<Vec<Result<()>>> {
        self.write_many(documents, OnTaken::Replace).await
    }

    async fn write_many(
        &self,
        documents: Vec<(Id, RawDocumentBuf)>,
        on_taken: OnTaken,
    ) -> Result<Vec<Result<()>>> {
        self.write(move |connection, table| write::many(connection, table, &documents, on_taken)).await
    }

    pub(crate) async fn replace(
        &self,
        id: &Id,
        document: Document,
        demand: &Demand,
        upsert: bool,
    ) -> Result<Replaced> {
        let (id, demand) = (id.clone(), demand.clone());
        self.write(move |connection, table| {
            write::replace(connection, table, &id, &document, &demand, upsert)
        })
        .await
    }

    pub(crate) async fn patch(&self, id: &Id, patch: &MergePatch, demand: &Demand) -> Result<Written> {
        let (id, patch, demand) = (id.clone(), patch.clone(), demand.clone());
        let schema = self.schema().clone();
        self.write(move |connection, table| write::patch(connection, table, &id, &patch, &schema, &demand))
            .await
    }

    pub(crate) async fn delete(&self, id: &Id, demand: &Demand) -> Result<Written> {
        let (id, demand) = (id.clone(), demand.clone());
        self.write(move |connection, table| write::delete(connection, table, &id, &demand)).await
    }

    pub(crate) async fn aggregate(
        &self,
        rows: &Filter,
        stages: &[Document],
        limit: u32,
    ) -> Result<Vec<RawDocumentBuf>> {
        let mut stages = read_stages(stages)?;
        stages.insert(0, Stage::Match(rows.clone()));
        let deadline = Instant::now() + self.0.deadline;
        self.query(move |connection, table| read::aggregate(connection, table, stages, limit, deadline)).await
    }
}

#[cfg(test)]
pub(in crate::document) mod tests;
