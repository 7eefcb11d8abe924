//! One writer, a few readers, and a bounded number of calls that wait for them.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

use super::connection::Connection;
use crate::{Error, ErrorKind, Result};

const READERS: usize = 4;
/// More calls than this are refused at once: they would wait longer than their callers do.
const MOST_CALLS_WAITING: usize = 4096;

/// The connections of one database. Calls wait in order of arrival.
pub(super) struct Pool {
    writer: Arc<Group>,
    /// The same group as the writer's for a database in memory, which has one connection.
    readers: Arc<Group>,
    waiting: Semaphore,
}

/// Connections for one purpose. Permits count the idle ones; both move together.
struct Group {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Group {
    fn new(connections: Vec<Connection>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Arc::new(Self { idle: Mutex::new(connections), permits })
    }
}

/// A connection out of its group; goes back when dropped, even by a panic.
struct Lent {
    connection: Option<Connection>,
    group: Arc<Group>,
    /// Released after the connection is back.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.set_deadline(None);
            self.group.idle.lock().push(connection);
        }
    }
}

impl Pool {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let attempt = || {
            let writer = Connection::open(path)?;
            let readers = (0..READERS).map(|_| Connection::open_read_only(path)).collect::<Result<_>>()?;
            Ok((writer, readers))
        };
        let (writer, readers) =
            attempt().map_err(|error: Error| error.context(format!("open {}", path.display())))?;
        Ok(Self::new(Group::new(vec![writer]), Group::new(readers)))
    }

    pub(super) fn in_memory() -> Result<Self> {
        let group = Group::new(vec![Connection::open_in_memory()?]);
        Ok(Self::new(Arc::clone(&group), group))
    }

    fn new(writer: Arc<Group>, readers: Arc<Group>) -> Self {
        Self { writer, readers, waiting: Semaphore::new(MOST_CALLS_WAITING) }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(&self.readers, Some(deadline), work).await
    }

    /// A write that was begun is carried through even if the caller goes away.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(&self.writer, Some(deadline), work).await
    }

    pub(super) async fn write_without_deadline<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(&self.writer, None, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        group: &Arc<Group>,
        limit: Option<Duration>,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut lent = self.lend(group, deadline).await?;
        on_blocking_pool(move || {
            let connection =
                lent.connection.as_mut().expect("a lent connection is there until it is dropped");
            connection.set_deadline(deadline);
            work(connection)
        })
        .await
    }

    async fn lend(&self, group: &Arc<Group>, deadline: Option<Instant>) -> Result<Lent> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| Error::new(ErrorKind::Unavailable, "too many calls wait for the database"))?;
        let acquire = Arc::clone(&group.permits).acquire_owned();
        let permit = match deadline {
            None => acquire.await,
            Some(deadline) => timeout_at(deadline.into(), acquire)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "no connection came free before the deadline"))?,
        };
        let permit = permit.expect("the semaphore is never closed");
        let connection = group.idle.lock().pop();
        Ok(Lent { connection, group: Arc::clone(group), _permit: permit })
    }
}

/// Runs `work` where blocking is allowed.
pub(super) async fn on_blocking_pool<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(failure) => Err(Error::new(ErrorKind::Unavailable, "the call to the database did not finish")
            .with_source(failure)),
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle_readers", &self.readers.permits.available_permits())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts without end.
    const FOREVER: &str =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n";
    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_query_is_stopped_at_its_deadline_and_leaves_a_sound_connection() {
        let pool = Pool::in_memory().unwrap();
        let error = pool.read(SOON, |connection| connection.first::<i64>(FOREVER, &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(
            pool.read(LATE, |connection| connection.first::<i64>("SELECT 7", &[])).await.unwrap(),
            Some(7)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_waits_for_a_connection_no_longer_than_its_deadline() {
        let pool = Arc::new(Pool::in_memory().unwrap());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = Arc::clone(&pool);
        let busy = tokio::spawn(async move {
            let hold = move |_: &mut Connection| {
                let _ = begun.send(());
                let _ = released.recv();
                Ok(())
            };
            busy.write(LATE, hold).await
        });
        has_begun.await.unwrap();
        assert_eq!(
            pool.read(SOON, |connection| connection.ping()).await.unwrap_err().kind(),
            ErrorKind::Timeout
        );
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        pool.read(LATE, |connection| connection.ping()).await.unwrap();
    }

    #[tokio::test]
    async fn a_call_that_panics_gives_its_connection_back() {
        let pool = Pool::in_memory().unwrap();
        let panic = pool.write(LATE, |_| -> Result<()> { panic!("on purpose") }).await;
        assert_eq!(panic.unwrap_err().kind(), ErrorKind::Unavailable);
        pool.read(LATE, |connection| connection.ping()).await.unwrap();
    }
}
