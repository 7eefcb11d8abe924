//! What nodes are built over: one database, every kind of it with every tier.

use larder::{
    FakeClock,
    document::{Collection, Database, IdType, Schema},
};
use tokio::sync::Semaphore;

use super::backend::{Backend, unique};
use crate::setup::Backend as Tier;

/// One database, and a way past all of the caches over it.
pub(super) struct World {
    pub(super) database: Database,
    pub(super) name: String,
    pub(super) tier: Tier,
    /// For tests that drive time.
    pub(super) clock: FakeClock,
}

impl World {
    /// Writes that no cache hears of.
    pub(super) fn past(&self) -> Collection {
        self.database.collection(self.schema()).build().unwrap()
    }

    pub(super) fn schema(&self) -> Schema {
        Schema::new(&self.name, IdType::Int).strict(false)
    }
}

/// Runs a test over each database and each tier.
pub(super) async fn in_every_world<Fut: Future<Output = ()>>(prefix: &str, test: impl Fn(World) -> Fut) {
    // Clusters are slow to talk to from many tests at once.
    static ONE: Semaphore = Semaphore::const_new(1);
    let _turn = ONE.acquire().await.unwrap();
    for backend in [Backend::SqliteMemory, Backend::Mongo] {
        for tier in Tier::ALL {
            let place = backend.place().await;
            let name = unique(&format!("{prefix}{}x", std::process::id()));
            let clock = FakeClock::default();
            test(World { database: place.database.clone(), name, tier, clock }).await;
        }
    }
}
