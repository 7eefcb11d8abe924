//! Looking at a slot and noting that somebody waits for it, in one round trip.

use ::redis::Cmd;

use crate::{
    Result,
    cache::{
        entry::Lease,
        shared::{LEASE, Lookup, Shared, lookup_command, unexpected},
    },
};

impl Shared {
    /// [`lookup`](Shared::lookup), and whoever fills the slot later, or gives its lease back, tells all nodes. One round trip.
    pub(crate) async fn lookup_and_wait(&self, key: &str, lease: &Lease) -> Result<Lookup> {
        let slot = self.slot(key)?;
        let note = self.note_command(key)?;
        let replies = self.redis().pipeline(&slot, vec![note, lookup_command(&slot, lease)]).await?;
        // Without the note this node finds out by looking again.
        match replies.into_iter().last().ok_or_else(unexpected)? {
            Ok(value) => self.found(value, lease),
            Err(error) => self.look_without_lease(&slot, error).await,
        }
    }

    /// The note that somebody waits for the key. It goes by itself with the leases that it is about.
    pub(crate) fn note_command(&self, key: &str) -> Result<Cmd> {
        let note = self.space().slot_waiters(self.shard_of(key), key.as_bytes())?;
        let mut set = Cmd::with_capacity(5, note.len() + 24);
        set.arg("SET").arg(note).arg(1).arg("PX").arg(LEASE.as_millis() as u64);
        Ok(set)
    }
}
