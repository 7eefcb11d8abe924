//! What the indexes of a collection begin with, looked at again from time to time, and before a list is refused for want of one.

use std::time::{Duration, Instant};

use larder::document::{Collection, Find, IndexedFields, Unindexed};
use parking_lot::Mutex;

/// How often the server looks by itself: for so long a list may go on that an index carried which is gone.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// No list is refused on a look that is older: an index that was just made counts.
const RECENT: Duration = Duration::from_secs(1);

/// What is known of the indexes of one collection. As long as that is nothing, because the database could not be asked, every
/// list is passed on to it: that nobody looked is no reason to refuse one.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    seen: Mutex<Seen>,
    /// Held while the database is asked, so that a crowd of lists asks once.
    looking: tokio::sync::Mutex<()>,
}

/// The outcome of the last look.
#[derive(Debug, Default)]
struct Seen {
    /// `None` if there was none yet, or it failed.
    fields: Option<IndexedFields>,
    at: Option<Instant>,
}

impl Indexes {
    /// Asks the database what there is. One that gives no answer within its deadline leaves nothing known.
    pub(crate) async fn look(&self, collection: &Collection) {
        let fields = collection.indexed_fields().await;
        if let Err(error) = &fields {
            let name = collection.schema().name();
            tracing::warn!(%error, name, "The indexes could not be looked at; no list is refused for want of one.");
        }
        *self.seen.lock() = Seen { fields: fields.ok(), at: Some(Instant::now()) };
    }

    /// Why this list has to be refused, if it has to be.
    pub(crate) async fn lack_for(&self, collection: &Collection, find: &Find) -> Option<Unindexed> {
        if self
            .seen
            .lock()
            .fields
            .as_ref()
            .is_some_and(|fields| fields.lacks(&find.filter, &find.sort).is_none())
        {
            return None;
        }
        let _alone = self.looking.lock().await;
        let is_recent = self.seen.lock().at.is_some_and(|at| at.elapsed() < RECENT);
        if !is_recent {
            self.look(collection).await;
        }
        self.seen.lock().fields.as_ref()?.lacks(&find.filter, &find.sort)
    }
}
