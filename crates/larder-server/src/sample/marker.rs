//! How far the loading of the sample shop has come, kept in the database itself.

use bson::doc;
use larder::{
    Result,
    document::{Collection, Database, Field, FieldType, Id, IdType, Schema},
};

/// Not a name that a configuration could declare.
const COLLECTION: &str = "_larder_sample";

/// What is known about an earlier load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has begun to load into this database.
    Untouched,
    /// A load has begun and not come to its end.
    Begun,
    /// Everything is there, or was before people changed it.
    Done,
}

/// The document that says so.
#[derive(Debug)]
pub(super) struct Marker {
    collection: Collection,
    id: Id,
}

impl Marker {
    /// # Errors
    /// When the database cannot have such a collection.
    pub(super) fn new(database: &Database) -> Result<Self> {
        let schema = Schema::new(COLLECTION, IdType::String)
            .field(Field::new("seed", FieldType::Int))
            .field(Field::new("done", FieldType::Bool));
        Ok(Self { collection: database.collection(schema).build()?, id: Id::string("shop")? })
    }

    /// # Errors
    /// When the database does not answer.
    pub(super) async fn state(&self) -> Result<State> {
        let Some(stored) = self.collection.get(&self.id).await? else { return Ok(State::Untouched) };
        let done = stored.raw().get_bool("done").unwrap_or(false);
        Ok(if done { State::Done } else { State::Begun })
    }

    /// # Errors
    /// When the database does not take it.
    pub(super) async fn set(&self, seed: u64, done: bool) -> Result<()> {
        let document = doc! { "_id": self.id.to_string(), "seed": seed as i64, "done": done };
        self.collection.put(&self.id, document).await.map(|_| ())
    }
}
