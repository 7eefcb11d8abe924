//! Where there is no change stream, a declared field is polled.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use larder::{
    ErrorKind,
    document::{
        ChangeKind, Collection, Database, Expect, Field, FieldType, Id, IdType, Schema, Told, Watch,
        WatchBuilder, WatchRole,
    },
};
use larder_testkit::mongo;

use super::place::{LEASE, n, next, sees, stats, until, until_led};
use crate::setup::lasting;

const OFTEN: Duration = Duration::from_millis(20);

/// One database and two programs, each with a cache of its own: what the first one writes the second one is not told.
struct Two {
    writer: Collection,
    reader: Collection,
    _server: Option<mongo::Server>,
}

impl Two {
    async fn all() -> [Self; 2] {
        let sqlite = Database::sqlite_in_memory().await.expect("SQLite starts");
        let server = mongo::Server::start();
        let application = "without-streams";
        // As a server alone answers.
        let data = doc! { "failCommands": ["aggregate"], "errorCode": 40573, "appName": application };
        let refuse = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
        server.command("admin", refuse);
        let url = format!("{}&appName={application}", server.url(&mongo::database_name()));
        let mongo = Database::mongo(&*url).await.expect("the test's URL is sound");
        [Self::over(&sqlite, None), Self::over(&mongo, Some(server))]
    }

    fn over(database: &Database, server: Option<mongo::Server>) -> Self {
        let collection = || {
            let database = database.clone().with_deadline(Duration::from_secs(10));
            database.collection(schema()).policy(lasting()).build().expect("the schema is sound")
        };
        Self { writer: collection(), reader: collection(), _server: server }
    }

    async fn write(&self, id: i64, n: i64, updated_at: DateTime) {
        let document = doc! { "_id": id, "n": n, "updatedAt": updated_at };
        self.writer.put(&Id::Int(id), document).await.expect("a write");
    }

    async fn poll(&self) -> Watch {
        let watch = polled(&self.reader).start().expect("the field is declared");
        until_led(&[&watch]).await;
        watch
    }
}

fn schema() -> Schema {
    Schema::new("things", IdType::Int)
        .field(Field::new("n", FieldType::Int))
        .field(Field::new("updatedAt", FieldType::Date).filterable().sortable())
        .field(Field::new("later", FieldType::Date))
}

fn polled(collection: &Collection) -> WatchBuilder {
    Watch::builder([collection]).lease(LEASE).updated_at("things", "updatedAt").poll_interval(OFTEN)
}

fn ago(seconds: i64) -> DateTime {
    DateTime::from_millis(DateTime::now().timestamp_millis() - seconds * 1_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_says_when_it_was_changed_is_seen_and_invalidated_once() {
    for two in Two::all().await {
        two.write(1, 1, ago(60)).await;
        two.write(2, 1, ago(61)).await;
        let watch = two.poll().await;
        assert_eq!(stats(&watch).role, WatchRole::Polling);
        until(&watch, "what was there is seen once", |stats| stats.changes_of(ChangeKind::Polled) == 2).await;
        for id in [1, 2] {
            assert_eq!(n(&two.reader, id).await, Some(1));
        }
        two.write(1, 2, ago(0)).await;
        sees(&two.reader, 1, Some(2)).await;
        two.write(2, 2, ago(0)).await;
        sees(&two.reader, 2, Some(2)).await;
        // Each round finds both again.
        assert_eq!(stats(&watch).invalidated, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_by_polling_is_told_with_the_time_that_it_names() {
    for two in Two::all().await {
        two.write(1, 1, ago(60)).await;
        let (_watch, mut changes) = polled(&two.reader).start_listening().expect("the field is declared");
        assert!(matches!(next(&mut changes).await, Some(Told::HistoryLost { .. })));
        for round in 1..5 {
            if round > 1 {
                two.write(1, round, ago(60 - round)).await;
            }
            let told = next(&mut changes).await;
            let Some(Told::Change { change, .. }) = told else { panic!("{told:?}") };
            assert_eq!((change.kind, change.id), (ChangeKind::Polled, Some(Id::Int(1))));
            let stored = two.writer.get(&Id::Int(1)).await.expect("a read").expect("it is there");
            let at_ms = stored.raw().get_datetime("updatedAt").expect("a date").timestamp_millis();
            assert_eq!(change.at_unix_ms, u64::try_from(at_ms).ok());
            assert_eq!(n(&two.reader, 1).await, Some(round));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_shows_late_and_one_from_the_future_hide_nothing() {
    for two in Two::all().await {
        let watch = two.poll().await;
        for id in [1, 2, 3] {
            assert_eq!(n(&two.reader, id).await, None);
        }
        two.write(1, 1, ago(-100_000_000)).await;
        sees(&two.reader, 1, Some(1)).await;
        two.write(2, 1, ago(0)).await;
        sees(&two.reader, 2, Some(1)).await;
        two.write(3, 1, ago(5)).await;
        sees(&two.reader, 3, Some(1)).await;
        let stats = stats(&watch);
        assert_eq!((stats.changes_of(ChangeKind::Polled), stats.failures), (3, 0), "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_of_one_moment_is_seen_whole() {
    for two in Two::all().await {
        let watch = two.poll().await;
        let moment = ago(0);
        let many: Vec<Document> =
            (0..1_200_i64).map(|id| doc! { "_id": id, "n": 1, "updatedAt": moment }).collect();
        for chunk in many.chunks(300) {
            two.writer.insert_many(chunk).await.expect("inserts");
        }
        until(&watch, "all are seen", |stats| stats.changes_of(ChangeKind::Polled) == 1_200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_shows_only_when_the_copy_expires() {
    for two in Two::all().await {
        two.write(1, 1, ago(60)).await;
        let watch = two.poll().await;
        until(&watch, "what was there is seen", |stats| stats.invalidated == 1).await;
        assert_eq!(n(&two.reader, 1).await, Some(1));
        two.writer.delete(&Id::Int(1), &Expect::Any).await.expect("a delete");
        two.write(2, 1, ago(0)).await;
        until(&watch, "a later change is seen", |stats| stats.invalidated == 2).await;
        assert_eq!(n(&two.reader, 1).await, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_field_to_poll_nothing_can_be_watched_and_the_stats_say_so() {
    for two in Two::all().await {
        let watch = Watch::builder([&two.reader]).start().unwrap();
        until(&watch, "it is told", |stats| stats.role == WatchRole::Unsupported).await;
        assert!(stats(&watch).trouble.is_some());
    }
}

#[tokio::test]
async fn a_field_that_cannot_be_polled_is_refused_by_name() {
    let [two, _] = Two::all().await;
    for (collection, field, part) in [
        ("things", "n", "things.n must be declared as a date"),
        ("things", "later", "sorted by"),
        ("things", "nothing", "things.nothing"),
        ("others", "updatedAt", "others is not watched"),
    ] {
        let error = Watch::builder([&two.reader]).updated_at(collection, field).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(Watch::builder([]).start().is_err());
    assert!(polled(&two.reader).lease(Duration::from_millis(99)).start().is_err());
}
