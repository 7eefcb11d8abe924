//! What the connected server can do, found by trying: never by its name or its version.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::error::{ErrorKind as Driver, Result as Answer};

use super::{MongoDatabase, client::server_limit_ms};
use crate::{
    Result,
    document::{Capability, DatabaseProbe, Topology},
};

/// A collection that is asked for and never made.
const NOWHERE: &str = "larder_probe";

impl MongoDatabase {
    /// Asks the server what it is, and tries each thing that something of Larder's needs. Writes nothing.
    pub(crate) async fn probe(&self, deadline: Duration) -> Result<DatabaseProbe> {
        let hello = self.admin(deadline, doc! { "hello": 1 }).await?;
        let build = self.admin(deadline, doc! { "buildInfo": 1 }).await?;
        let topology = topology_of(&hello);
        let capabilities = vec![
            Capability {
                name: "replica set",
                available: matches!(topology, Topology::ReplicaSet | Topology::Sharded),
                without: "one server is all there is: when it is away, what is not cached is away",
            },
            Capability {
                name: "sessions",
                available: hello.contains_key("logicalSessionTimeoutMinutes"),
                without: "a write whose answer is lost is not retried; its caller is told that the outcome is unknown",
            },
            Capability {
                name: "transactions",
                available: self.can(deadline, self.try_transaction()).await?,
                without: "writes to several documents, and jobs that complete together with a write, are not atomic",
            },
            Capability {
                name: "change streams",
                available: self.can(deadline, self.try_watch()).await?,
                without: "changes made past Larder show when cached copies expire, or by polling a field that dates them",
            },
            Capability {
                name: "explain",
                available: self.can(deadline, self.try_explain()).await?,
                without: "indexes are judged by their keys, not by the plans of queries",
            },
        ];
        Ok(DatabaseProbe {
            engine: "mongodb",
            version: build.get_str("version").unwrap_or("unknown").to_owned(),
            topology,
            wire_version: hello.get("maxWireVersion").and_then(as_i32),
            server_time: hello.get_datetime("localTime").ok().copied(),
            capabilities,
        })
    }

    async fn admin(&self, deadline: Duration, mut command: Document) -> Result<Document> {
        command.insert("maxTimeMS", server_limit_ms(deadline));
        let admin = self.driver().client().database("admin");
        self.call(deadline, async { admin.run_command(command).await }).await
    }

    /// Whether a trial succeeds. A refusal by the server is an answer; no answer is an error.
    async fn can(&self, deadline: Duration, trial: impl Future<Output = Answer<()>>) -> Result<bool> {
        self.call(deadline, async {
            match trial.await {
                Ok(()) => Ok(true),
                Err(error) if is_refusal(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn try_transaction(&self) -> Answer<()> {
        let mut session = self.driver().client().start_session().await?;
        session.start_transaction().await?;
        let nowhere = self.driver().collection::<Document>(NOWHERE);
        nowhere.find_one(doc! {}).session(&mut session).await?;
        session.abort_transaction().await
    }

    async fn try_watch(&self) -> Answer<()> {
        self.driver().collection::<Document>(NOWHERE).watch().await.map(drop)
    }

    async fn try_explain(&self) -> Answer<()> {
        let explain = doc! { "explain": { "find": NOWHERE, "filter": {} }, "verbosity": "queryPlanner" };
        self.driver().run_command(explain).await.map(drop)
    }
}

/// Whether the server, or the driver on its behalf, said no.
fn is_refusal(error: &mongodb::error::Error) -> bool {
    matches!(
        error.kind.as_ref(),
        Driver::Command(_)
            | Driver::SessionsNotSupported
            | Driver::Transaction { .. }
            | Driver::IncompatibleServer { .. }
    )
}

fn topology_of(hello: &Document) -> Topology {
    if hello.get_str("msg").is_ok_and(|message| message == "isdbgrid") {
        Topology::Sharded
    } else if hello.contains_key("setName") {
        Topology::ReplicaSet
    } else {
        Topology::Standalone
    }
}

fn as_i32(value: &Bson) -> Option<i32> {
    value.as_i32().or_else(|| value.as_i64().and_then(|number| number.try_into().ok()))
}
