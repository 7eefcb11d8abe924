//! The client: its settings, its deadline, and what its monitors know.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bson::doc;
use mongodb::{
    Client,
    event::{EventHandler, sdam::SdamEvent},
    options::{ClientOptions, ReadPreference, SelectionCriteria},
};

use super::{MongoCollection, MongoConfig, availability::Availability, error};
use crate::{Error, ErrorKind, Result, document::Schema};

/// How often a server is asked how it is, so the longest time until the return of one that was gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(2);

const SELECTION_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One database. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct MongoDatabase(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: mongodb::Database,
    availability: Arc<Availability>,
    selection_timeout: Duration,
}

impl MongoDatabase {
    /// Reads the configuration. Asks no server, except DNS for a `mongodb+srv` URL: one that is away at the start is
    /// found when it comes.
    pub(crate) async fn open(config: MongoConfig) -> Result<Self> {
        let unreadable = |error: mongodb::error::Error| {
            let reason = config.reason(&error.kind.to_string());
            Error::new(ErrorKind::Config, format!("the MongoDB URL cannot be used: {reason}"))
        };
        let mut options = ClientOptions::parse(&config.url).await.map_err(unreadable)?;
        let Some(name) = options.default_database.clone() else {
            return Err(Error::new(
                ErrorKind::Config,
                "the MongoDB URL names no database; write it behind the host, as in mongodb://localhost/shop",
            ));
        };
        let availability = Arc::new(Availability::default());
        let app = || Some("larder".to_owned());
        options.app_name = config.app.clone().or(options.app_name).or_else(app);
        options.max_pool_size = config.max_connections.or(options.max_pool_size);
        options.min_pool_size = config.min_connections.or(options.min_pool_size);
        let selection_timeout =
            config.selection_timeout.or(options.server_selection_timeout).unwrap_or(SELECTION_TIMEOUT);
        options.server_selection_timeout = Some(selection_timeout);
        options.connect_timeout =
            config.connect_timeout.or(options.connect_timeout).or(Some(CONNECT_TIMEOUT));
        options.heartbeat_freq = options.heartbeat_freq.or(Some(HEARTBEAT));
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        options.sdam_event_handler = Some(follow(Arc::clone(&availability)));
        let client = Client::with_options(options).map_err(unreadable)?;
        let database = client.database(&name);
        Ok(Self(Arc::new(Inner { database, availability, selection_timeout })))
    }

    pub(crate) fn collection(&self, schema: Arc<Schema>, deadline: Duration) -> MongoCollection {
        MongoCollection::new(self.clone(), schema, deadline)
    }

    pub(crate) async fn ping(&self, deadline: Duration) -> Result<()> {
        let ping = self.driver().run_command(doc! { "ping": 1, "maxTimeMS": server_limit_ms(deadline) });
        self.call(deadline, async { ping.await.map(|_| ()) }).await
    }

    pub(super) fn driver(&self) -> &mongodb::Database {
        &self.0.database
    }

    /// Runs one call of the driver under `deadline`. While no server is known it is refused at once.
    pub(super) async fn call<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        self.reach(deadline, work).await.map_err(Error::unmarked)
    }

    /// The same, and its error is marked with what is known of whether the call was sent.
    pub(super) async fn reach<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        let inner = &*self.0;
        if inner.availability.is_gone(inner.selection_timeout, Instant::now()) {
            return Err(error::unavailable().unsent());
        }
        match tokio::time::timeout(deadline, work).await {
            Ok(answer) => answer.map_err(|error| error::marked(&error)),
            Err(_) if inner.availability.is_lost() => Err(error::unavailable().in_doubt()),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "MongoDB did not answer before the deadline")),
        }
    }
}

/// What the server is given of a deadline: less than all, so that its own refusal comes first and the connection lives on.
pub(super) fn server_limit(deadline: Duration) -> Duration {
    (deadline - deadline / 10).max(Duration::from_millis(1))
}

pub(super) fn server_limit_ms(deadline: Duration) -> i64 {
    i64::try_from(server_limit(deadline).as_millis()).unwrap_or(i64::MAX)
}

/// Keeps `availability` up to date with what the driver's monitors see.
fn follow(availability: Arc<Availability>) -> EventHandler<SdamEvent> {
    EventHandler::callback(move |event| match event {
        SdamEvent::TopologyDescriptionChanged(change) => {
            let topology = &change.new_description;
            let is_checked = |server: &mongodb::ServerInfo<'_>| server.last_update_time().is_some();
            if topology.has_writable_server() {
                availability.found();
            } else if topology.servers().values().any(is_checked) {
                availability.lost(Instant::now());
            }
        }
        SdamEvent::ServerHeartbeatFailed(_) => availability.unanswered(Instant::now()),
        _ => {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load from a member that is behind could keep an older document under a valid lease.
    #[tokio::test]
    async fn the_primary_is_read_whatever_the_url_says() {
        for preference in ["secondary", "secondaryPreferred", "nearest"] {
            let url = format!("mongodb://localhost:1/shop?readPreference={preference}");
            let database = MongoDatabase::open(MongoConfig::new(url)).await.unwrap();
            let is_primary = |criteria: Option<&SelectionCriteria>| {
                matches!(criteria, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)))
            };
            assert!(is_primary(database.driver().selection_criteria()), "{preference}");
        }
    }
}
