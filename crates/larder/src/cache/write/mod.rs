//! Writes under a block: nothing can be filled while the database is being written, so a crash in between leaves nothing stale.
//!
//! A block is a list of the writers that are at a key, by their tokens. Each adds its own and takes it out in the end, so that
//! the first of several to be done does not end the protection of the others; one that dies is forgotten when the block runs
//! out. An invalidation leaves a block where it is, and a stranger in it. A *guarded write* leaves nothing in the slot. A *write-through* leaves the value that it wrote, if the block held its
//! token and no other from the beginning to the end. Two writers at once leave nothing: whose write came last in the database
//! only the database knows. A *write-around* has no block: the key is owed while the database is written, and invalidated after.

mod around;
mod guard;
mod shared;
mod through;

use std::time::Duration;

use rand::Rng;

/// How long fills stay blocked if the writer dies. Prolonged while it lives.
pub(crate) const HOLD: Duration = Duration::from_secs(10);

/// One writer's part in the blocks of its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    token: [u8; 16],
    /// Whether it was there before. One that has to be put back then has been disturbed.
    is_renewed: bool,
}

impl Block {
    fn random() -> Self {
        Self { token: rand::rng().random(), is_renewed: false }
    }

    fn renewed(self) -> Self {
        Self { is_renewed: true, ..self }
    }

    pub(crate) fn token(&self) -> &[u8; 16] {
        &self.token
    }

    pub(crate) fn is_renewed(&self) -> bool {
        self.is_renewed
    }
}
