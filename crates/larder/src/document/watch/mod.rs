//! Changes made past Larder: a change stream of the database invalidates what it touches.
//!
//! A [`Watch`] follows the change streams of some collections. Whoever writes to the database, by whatever way, the cached
//! documents that it touched are forgotten on every node, usually within milliseconds. Without a watch such a write shows
//! when the copies expire.
//!
//! One node at a time *leads* the watch of a collection, by a lease in Redis; the others stand by and take over when the
//! lease runs out. The leader reads a batch of changes, invalidates their documents by `documentKey` alone, and then, after
//! Redis has acknowledged that, stores the point behind them. A crash in between applies them once more, which costs a
//! miss. Only the present leader can store a point: a fence that grows with every leader refuses a node that was frozen in
//! the meantime. Without Redis each process watches for itself, with the point in its memory.
//!
//! | what happens | what follows |
//! |---|---|
//! | insert, update, replace, delete | the document is invalidated |
//! | drop, rename, drop of the database | the cache of the collection is cleared, and the stream opened again |
//! | the first start | the stream's point is taken, then the cache is cleared |
//! | the database has lost the history (286 and its kin) | the cache is cleared, a warning logged, and watching goes on from now |
//! | some shards of Redis cannot be told (a primary is away, a slot moves) | the others are told; what these are to forget is owed, no point is stored, and once nothing is owed everything since the point is applied again |
//! | Redis may have lost acknowledged invalidations (a failover, a restart) | the stream is rewound to before it; without a point old enough the cache is cleared |
//! | something else | counted, and nothing else |
//!
//! Cost of a batch, of up to 1,000 changes: one round trip to Redis for each shard that its documents fall into, all at the
//! same time, and one to store the point. A leader without changes renews its lease three times in its length; a node that
//! stands by asks as often.
//!
//! # Telling others
//! [`Watch::changes`] hands on what was applied: a realtime channel, a search index, a mail queue can be fed from it, without a
//! change stream of their own.
//!
//! # Without change streams
//! A MongoDB without a replica set has none, and neither has SQLite. A collection that declares a field for the time of its
//! last change ([`WatchBuilder::updated_at`]) is polled there instead: one query each [interval](WatchBuilder::poll_interval).
//! Deletions, and changes that leave the field alone, are not seen that way: they show when the copies expire.
//!
//! # When Redis is down
//! Nothing is stored, so nothing is lost: when Redis is back the changes since the last stored point are applied, after the
//! invalidations that this node owes.
//!
//! When one primary of a cluster is down, the leader goes on for the others, as long as its lease lies on one that answers: on the
//! primary with the collection's first shard. It compares the histories of all shards when all answer again. Another node that
//! takes over meanwhile begins at the stored point, with the comparison to come, after a lease's length in which Redis may become
//! whole; without a stored point it waits for that.
//!
//! # When MongoDB is down
//! The stream goes on where it was when MongoDB is back. What is cached is served as the policy says.
#![cfg_attr(not(feature = "mongo"), expect(dead_code, reason = "polling alone needs only a part of it"))]

mod change;
mod feed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod listen;
#[cfg(feature = "mongo")]
mod mongo;
mod poll;
mod seat;
mod shared;
mod start;
mod stats;
mod trouble;
mod watcher;

pub use self::{
    change::{Change, ChangeKind},
    handle::{Watch, WatchBuilder},
    listen::{Changes, Told},
    stats::{WatchRole, WatchStats},
};
