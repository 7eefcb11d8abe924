//! Read-through: the cache knows its source, one value at a time or many with one call.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use larder::{
    Cache, Result,
    source::{Sink, Source},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Your database. Anything that can load by key is a source; anything that can store is a sink.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<HashMap<u64, String>>>);

impl Source<u64, String> for Users {
    async fn load(&self, id: &u64) -> Result<Option<String>> {
        println!("  loads {id}");
        Ok(self.0.lock().expect("no holder panics").get(id).cloned())
    }
    async fn load_many(&self, ids: &[u64]) -> Result<Vec<Option<String>>> {
        println!("  loads {ids:?} with one query");
        let users = self.0.lock().expect("no holder panics");
        Ok(ids.iter().map(|id| users.get(id).cloned()).collect())
    }
}

impl Sink<u64, String> for Users {
    async fn put(&self, id: &u64, name: &String) -> Result<()> {
        self.0.lock().expect("no holder panics").insert(*id, name.clone());
        Ok(())
    }
    async fn remove(&self, id: &u64) -> Result<()> {
        self.0.lock().expect("no holder panics").remove(id);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = Users::default();
    let users: Cache<u64, String> =
        Cache::builder("users").source(database.clone()).sink(database).build()?;

    users.put(&1, &"Ada".to_owned()).await?;
    println!("{:?}", users.get(&1).await?);
    println!("{:?}", users.get_many(&[1, 2, 3]).await?);
    println!("{:?}, and nobody was asked again", users.get_many(&[1, 2, 3]).await?);

    users.put(&2, &"Grace".to_owned()).await?;
    assert_eq!(users.get(&2).await?.as_deref().map(String::as_str), Some("Grace"));
    Ok(())
}
