//! One contract per capability, each over every backend it has.

mod advise;
mod audit;
mod batch;
mod behind;
mod bookkeeping;
mod cache;
mod coherence;
mod conditional;
mod deadlines;
mod document;
mod epochs;
mod expire;
mod failover;
mod history;
mod hot;
mod outage;
mod redis;
mod refresh_ahead;
mod replicas;
mod round_trips;
mod setup;
mod stale_set;
mod tenants;
mod through;
mod watch;
mod way;
