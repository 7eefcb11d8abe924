//! Values of a user's own type in MongoDB.

use serde::{Deserialize, Serialize};

use super::database;
use crate::{
    ErrorKind,
    document::{IdType, Schema},
    source::{DocumentSource, Sink, Source},
};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct User {
    name: String,
    visits: u32,
}

#[tokio::test]
async fn values_of_ones_own_type_go_in_and_come_out() {
    let schema = Schema::new("users", IdType::String);
    let users = DocumentSource::<String, User>::new(&database().await, schema.clone()).unwrap();
    let ann = User { name: "Ann".into(), visits: 3 };
    users.put(&"ann".into(), &ann).await.unwrap();
    users.put(&"ann".into(), &ann).await.unwrap();
    let found = users.load_many(&["bob".into(), "ann".into()]).await.unwrap();
    assert_eq!(found, [None, Some(ann)]);
    users.remove(&"ann".into()).await.unwrap();
    users.remove(&"ann".into()).await.unwrap();
    assert_eq!(users.load(&"ann".into()).await.unwrap(), None);
    assert_eq!(users.load(&String::new()).await.unwrap_err().kind(), ErrorKind::Invalid);
}
