//! One server or a cluster, with the same verbs: what a test says of both.

use super::{
    cluster::Cluster,
    resp::Reply,
    server::{Options, Server},
};

const PRIMARIES: usize = 3;

/// Servers that belong together and that a test may break together.
#[derive(Debug)]
pub enum Deployment {
    /// One server.
    Single(Server),
    /// Three primaries without replicas.
    Cluster(Cluster),
}

impl Deployment {
    /// A single server, and after it a cluster; each is started when its turn comes.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    pub fn each(options: &Options) -> impl Iterator<Item = Self> {
        let single = |options: &Options| Self::Single(Server::start(options));
        let cluster = |options: &Options| Self::Cluster(Cluster::start_with(PRIMARIES, false, options));
        let options = options.clone();
        [single, cluster].into_iter().map(move |start| start(&options))
    }

    /// What it is, in a word or two for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Single(_) => "one server",
            Self::Cluster(_) => "a cluster",
        }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// All primaries.
    pub fn servers(&self) -> &[Server] {
        match self {
            Self::Single(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.primaries(),
        }
    }

    /// The primary that has the key, as long as no slot has moved.
    pub fn owner_of(&self, key: &str) -> &Server {
        match self {
            Self::Single(server) => server,
            Self::Cluster(cluster) => &cluster.primaries()[cluster.place_of(key).0],
        }
    }

    /// Sends a command to the primary that has the key in its second word.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn ask(&self, command: &[&str]) -> Reply {
        self.owner_of(command[1]).ask(command)
    }

    /// Sends a command to every primary.
    ///
    /// # Panics
    /// If a server does not answer, or refuses.
    pub fn ask_all(&self, command: &[&str]) -> Vec<Reply> {
        let ask = |server: &Server| match server.ask(command) {
            Reply::Error(error) => panic!("{command:?}: {error}"),
            reply => reply,
        };
        self.servers().iter().map(ask).collect()
    }

    /// All keys of this pattern, on whichever server they are.
    ///
    /// # Panics
    /// If a server does not answer.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let keys_of = |reply| match reply {
            Reply::Array(keys) => keys,
            other => panic!("keys are listed: {other:?}"),
        };
        let keys = self.ask_all(&["KEYS", pattern]).into_iter().flat_map(keys_of);
        keys.filter_map(|key| key.text().map(str::to_owned)).collect()
    }

    /// Kills every server, as [`Server::kill`] does.
    pub fn kill(&self) {
        self.servers().iter().for_each(Server::kill);
    }

    /// Kills every server as the death of its machine does, as [`Server::lose_power`] says; returns how many bytes were lost.
    ///
    /// # Panics
    /// If they were not started for that.
    pub fn lose_power(&self) -> u64 {
        self.servers().iter().for_each(Server::kill);
        self.servers().iter().map(Server::lose_power).sum()
    }

    /// Kills every server and loses its data files, as [`Server::lose_files`] says.
    ///
    /// # Panics
    /// If they have none.
    pub fn lose_files(&self) {
        self.kill();
        self.servers().iter().for_each(Server::lose_files);
    }

    /// How many bytes would be lost now.
    ///
    /// # Panics
    /// As [`lose_power`](Self::lose_power).
    pub fn unsynced(&self) -> u64 {
        self.servers().iter().map(Server::unsynced).sum()
    }

    /// While their disks are busy no sync comes to its end.
    ///
    /// # Panics
    /// As [`lose_power`](Self::lose_power).
    pub fn set_disks_busy(&self, busy: bool) {
        self.servers().iter().for_each(|server| server.set_disk_busy(busy));
    }

    /// Their systems write their buffers, as [`Server::write_buffers`] says.
    ///
    /// # Panics
    /// As [`lose_power`](Self::lose_power).
    pub fn write_buffers(&self) {
        self.servers().iter().for_each(Server::write_buffers);
    }

    /// Starts every server again, as [`Server::restart`] does, and returns when they are well.
    ///
    /// # Panics
    /// If one does not start.
    pub fn restart(&self) {
        self.kill();
        self.servers().iter().for_each(Server::restart);
        self.await_well();
    }

    /// Starts one of the [`servers`](Self::servers) again, as [`Server::restart`] does, and returns when all are well.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_one(&self, place: usize) {
        self.servers()[place].restart();
        self.await_well();
    }

    /// Stops every server in its tracks, as [`Server::freeze`] does.
    pub fn freeze(&self) {
        self.servers().iter().for_each(Server::freeze);
    }

    /// Lets frozen servers go on, and returns when they are well.
    pub fn thaw(&self) {
        self.servers().iter().for_each(Server::thaw);
        self.await_well();
    }

    fn await_well(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.await_well();
        }
    }
}
