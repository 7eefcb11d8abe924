//! Connections of single threads.

use std::{collections::HashSet, sync::mpsc, thread};

use larder_testkit::{lasting, redis::Cluster};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use super::{cluster::key_at, *};

const SOON: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(50);

/// A thread that runs a runtime of its own until this is dropped.
struct Worker {
    runtime: Handle,
    _stay: oneshot::Sender<()>,
}

impl Worker {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stay, stayed) = oneshot::channel();
        thread::spawn(move || runtime.block_on(stayed));
        Self { runtime: handle, _stay: stay }
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(work).await.unwrap()
    }

    /// Keeps the thread busy until the sender is dropped; completes when it is.
    async fn stand_still(&self) -> mpsc::Sender<()> {
        let (go_on, standing) = mpsc::channel::<()>();
        let (stand, stands) = oneshot::channel();
        self.runtime.spawn(async move {
            stand.send(()).unwrap();
            let _gone = standing.recv();
        });
        stands.await.unwrap();
        go_on
    }

    /// What the server calls the connection that a call of this thread goes over.
    async fn connection(&self, redis: &Redis, key: &str) -> Option<i64> {
        let (redis, key) = (redis.clone(), key.to_owned());
        self.run(async move { connection(&redis, &key).await }).await
    }

    /// Waits until this thread has a connection that the others have not.
    async fn has_its_own(&self, redis: &Redis, key: &str) {
        eventually("the thread has a connection of its own", SOON, || async {
            let own = self.connection(redis, key).await;
            own.is_some() && own != connection(redis, key).await
        })
        .await;
    }
}

/// What the server calls the connection that a call from here goes over.
async fn connection(redis: &Redis, key: &str) -> Option<i64> {
    match redis.command(key.as_bytes(), cmd("CLIENT").arg("ID")).await {
        Ok(Value::Int(id)) => Some(id),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

async fn beside(workers: &[Worker], url: String) -> Redis {
    let runtimes = workers.iter().map(|worker| worker.runtime.clone());
    Redis::connect(patient(url).runtimes(runtimes).probe_interval(INTERVAL)).await.unwrap()
}

#[tokio::test]
async fn each_of_the_threads_calls_over_a_connection_of_its_own_and_all_others_share_one() {
    let server = Server::start(&Options::default());
    let workers = [Worker::start(), Worker::start()];
    let redis = beside(&workers, server.url()).await;
    for worker in &workers {
        worker.has_its_own(&redis, "k").await;
    }
    let mut seen = HashSet::new();
    for _ in 0..3 {
        seen.insert(connection(&redis, "k").await);
        seen.insert(Worker::start().connection(&redis, "k").await);
        for worker in &workers {
            seen.insert(worker.connection(&redis, "k").await);
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    let open = || {
        let list = server.ask(&["CLIENT", "LIST"]);
        list.text().unwrap().lines().filter(|client| client.contains("name=larder")).count()
    };
    assert_eq!((open(), redis.generation()), (3, 1));
    drop(redis);
    eventually("they are closed with the last handle", SOON, || async { open() == 0 }).await;
}

#[tokio::test]
async fn a_call_over_an_own_connection_is_one_round_trip() {
    let worker = [Worker::start()];
    let redis = beside(&worker, single()).await;
    worker[0].has_its_own(&redis, "k").await;
    let before = redis.stats().round_trips;
    worker[0].connection(&redis, "k").await;
    assert_eq!(redis.stats().round_trips - before, 1);
}

#[tokio::test]
async fn each_primary_of_a_cluster_has_one_for_each_thread() {
    let cluster = Cluster::start(3, false);
    let worker = [Worker::start()];
    let redis = beside(&worker, cluster.url()).await;
    for place in 0..3 {
        worker[0].has_its_own(&redis, &key_at(place)).await;
    }
}

#[tokio::test]
async fn one_that_breaks_has_all_of_them_made_anew() {
    let server = Server::start(&Options::default());
    let workers = [Worker::start(), Worker::start()];
    let redis = beside(&workers, server.url()).await;
    for worker in &workers {
        worker.has_its_own(&redis, "k").await;
    }
    let before = redis.generation();
    let id = workers[0].connection(&redis, "k").await.unwrap().to_string();
    server.ask(&["CLIENT", "KILL", "ID", &id]);
    eventually("there are new ones", SOON, || async { redis.generation() > before }).await;
    for worker in &workers {
        worker.has_its_own(&redis, "k").await;
    }
}

#[tokio::test]
async fn they_are_back_when_the_server_is() {
    let server = Server::start(&Options::default());
    let worker = [Worker::start()];
    let redis = beside(&worker, server.url()).await;
    for _ in 0..2 {
        worker[0].has_its_own(&redis, "k").await;
        server.kill();
        eventually("the loss is noticed", SOON, || async { !redis.is_available() }).await;
        assert_eq!(worker[0].connection(&redis, "k").await, None);
        server.restart();
    }
    worker[0].has_its_own(&redis, "k").await;
}

#[tokio::test]
async fn one_that_falls_silent_has_all_of_them_made_anew() {
    let server = Server::start(&Options::default());
    let worker = [Worker::start()];
    let redis = beside(&worker, server.url()).await;
    worker[0].has_its_own(&redis, "k").await;
    let silencing = redis.with_deadline(INTERVAL);
    let silenced = async move { silencing.command(b"k", cmd("CLIENT").arg("REPLY").arg("OFF")).await };
    assert_eq!(worker[0].run(silenced).await.unwrap_err().kind(), ErrorKind::Timeout);
    eventually("the silence is noticed", SOON, || async { redis.generation() > 1 }).await;
    worker[0].has_its_own(&redis, "k").await;
}

#[tokio::test]
async fn a_thread_that_stands_still_holds_up_nobody_else() {
    let workers = [Worker::start(), Worker::start()];
    let go_on = workers[0].stand_still().await;
    let redis = beside(&workers, single()).await;
    workers[1].has_its_own(&redis, "k").await;
    lasting(10 * INTERVAL).await;
    redis.ping().await.unwrap();
    assert_eq!(redis.generation(), 1, "it is no reason to connect anew");
    drop(go_on);
    workers[0].has_its_own(&redis, "k").await;
    assert_eq!(redis.generation(), 1);
}

#[tokio::test]
async fn a_thread_that_has_ended_takes_only_its_own_along() {
    let [ends, stays] = [Worker::start(), Worker::start()];
    let runtimes = [&ends, &stays].map(|worker| worker.runtime.clone());
    let redis = Redis::connect(patient(single()).runtimes(runtimes)).await.unwrap();
    for worker in [&ends, &stays] {
        worker.has_its_own(&redis, "k").await;
    }
    drop(ends);
    for _ in 0..20 {
        // New threads take the place of the one that has ended.
        assert!(Worker::start().connection(&redis, "k").await.is_some());
        assert!(stays.connection(&redis, "k").await.is_some());
    }
}

#[tokio::test]
async fn none_leads_to_another_server_than_the_shared_one() {
    let (old, new) = (Server::start(&Options::default()), Server::start(&Options::default()));
    for (server, name) in [(&old, "old"), (&new, "new")] {
        server.ask(&["SET", "who", name]);
    }
    let proxy = Proxy::start(old.port()).await;
    let worker = [Worker::start()];
    let go_on = worker[0].stand_still().await;
    let redis = beside(&worker, format!("redis://127.0.0.1:{}", proxy.port())).await;
    // As an address that moves does, while the old server still answers.
    proxy.lead_new_to(new.port());
    let before = proxy.connections();
    drop(go_on);
    eventually("the other server was found", SOON, || async { proxy.connections() > before + 2 }).await;
    let asking = redis.clone();
    let who = worker[0].run(async move { asking.command(b"who", cmd("GET").arg("who")).await }).await;
    assert_eq!(who.unwrap(), bulk("old"));
    proxy.lead_new_to(old.port());
    worker[0].has_its_own(&redis, "k").await;
    assert_eq!(redis.generation(), 1);
}

#[tokio::test]
async fn without_a_word_on_who_answers_there_is_none() {
    let server = Server::start(&Options::default());
    server.ask(&["ACL", "SETUSER", "quiet", "on", ">pw", "~*", "+@all", "-info"]);
    let worker = [Worker::start()];
    let redis = beside(&worker, server.url().replace("redis://", "redis://quiet:pw@")).await;
    lasting(5 * INTERVAL).await;
    let shared = connection(&redis, "k").await;
    assert!(shared.is_some());
    assert_eq!(worker[0].connection(&redis, "k").await, shared);
}

#[tokio::test]
async fn a_runtime_with_several_threads_is_refused() {
    let several = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let config = patient(single()).runtimes([several.handle().clone()]);
    let error = Redis::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("RedisConfig::runtimes"), "{error}");
    several.shutdown_background();
}
