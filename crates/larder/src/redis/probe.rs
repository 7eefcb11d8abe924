//! What kind of Redis this is: for the doctor, and for those who want to know before they trust it with their data.

use std::time::Duration;

use ::redis::{Value, cmd, from_redis_value};

use super::{
    greet::info_field,
    link::Link,
    url::{Address, Mode},
};
use crate::{Clock, Error, ErrorKind, Result};

/// The shape of a deployment and what each of its primaries says about itself.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct ServerProbe {
    /// How the primaries are found.
    pub mode: DeploymentMode,
    /// One for each primary, in the order of their slots.
    pub primaries: Vec<PrimaryProbe>,
}

/// How the primaries of a deployment are found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentMode {
    /// One server at a fixed address.
    Single,
    /// One primary that Sentinel names.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

/// What one primary says about itself. A field is `None` if the server does not say, or may not say it to this user.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrimaryProbe {
    /// `host:port`.
    pub address: String,
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// Such as `7.0.15`.
    pub version: Option<String>,
    /// The limit of its memory; `None` also if there is no limit.
    pub max_memory_bytes: Option<u64>,
    /// What its data takes now.
    pub used_memory_bytes: Option<u64>,
    /// What it does at the limit: `noeviction`, `allkeys-lru`, …
    pub max_memory_policy: Option<String>,
    /// How many keys it has evicted since it started.
    pub evicted_keys: Option<u64>,
    /// Whether it keeps an append-only file.
    pub append_only: Option<bool>,
    /// When it syncs that file: `always`, `everysec`, `no`.
    pub append_fsync: Option<String>,
    /// How many replicas are connected to it.
    pub replicas: Option<u32>,
    /// The identity of its data set; it changes with every failover.
    pub replication_id: Option<String>,
    /// How far its clock is ahead of ours (behind, if negative), give or take half a round trip.
    pub clock_offset_ms: Option<i64>,
}

impl ServerProbe {
    /// Whether a primary may throw keys away to make room. Right for a cache; wrong for queues, locks and sessions.
    pub fn can_evict(&self) -> bool {
        self.primaries.iter().any(|primary| {
            primary.max_memory_bytes.is_some()
                && primary.max_memory_policy.as_deref().is_some_and(|policy| policy != "noeviction")
        })
    }

    /// Whether a restart of every primary keeps its data, up to what its `appendfsync` allows to lose.
    pub fn survives_restart(&self) -> bool {
        self.primaries.iter().all(|primary| primary.append_only == Some(true))
    }
}

impl From<&Mode> for DeploymentMode {
    fn from(mode: &Mode) -> Self {
        match mode {
            Mode::Single(_) => Self::Single,
            Mode::Sentinel { .. } => Self::Sentinel,
            Mode::Cluster(_) => Self::Cluster,
        }
    }
}

/// Asks one primary. One round trip.
pub(super) async fn probe(link: &Link, deadline: Duration, clock: &dyn Clock) -> Result<PrimaryProbe> {
    let info = cmd("INFO").arg(&["server", "memory", "persistence", "replication", "stats"]).take();
    let fsync = cmd("CONFIG").arg("GET").arg("appendfsync").take();
    let asked = super::pipeline_of(vec![cmd("TIME"), info, fsync]);
    let before_ms = clock.unix_ms();
    let replies = link.pipeline(&asked, deadline).await?;
    let after_ms = clock.unix_ms();
    let [time, info, fsync] = <[Value; 3]>::try_from(replies)
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the server answered out of step"))?;
    let info: String = from_redis_value(info).unwrap_or_default();
    let mut probe = read_info(&info);
    probe.address = link.address().as_ref().map(Address::to_string).unwrap_or_default();
    probe.append_fsync = from_redis_value::<Vec<(String, String)>>(fsync)
        .ok()
        .and_then(|settings| settings.into_iter().next())
        .map(|(_name, value)| value);
    probe.clock_offset_ms = from_redis_value::<(i64, i64)>(time).ok().map(|(seconds, micros)| {
        let ours_ms = before_ms.midpoint(after_ms) as i64;
        seconds * 1_000 + micros / 1_000 - ours_ms
    });
    Ok(probe)
}

pub(super) fn read_info(info: &str) -> PrimaryProbe {
    fn number<N: std::str::FromStr>(info: &str, name: &str) -> Option<N> {
        info_field(info, name)?.parse().ok()
    }
    let text = |name| info_field(info, name).map(str::to_owned);
    let valkey = text("valkey_version");
    PrimaryProbe {
        product: if valkey.is_some() { "Valkey" } else { "Redis" },
        version: valkey.or_else(|| text("redis_version")),
        max_memory_bytes: number(info, "maxmemory").filter(|&limit: &u64| limit > 0),
        used_memory_bytes: number(info, "used_memory"),
        max_memory_policy: text("maxmemory_policy"),
        evicted_keys: number(info, "evicted_keys"),
        append_only: text("aof_enabled").map(|enabled| enabled == "1"),
        replicas: number(info, "connected_slaves"),
        replication_id: text("master_replid"),
        ..PrimaryProbe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valkey_is_told_from_redis() {
        let probe = read_info("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n");
        assert_eq!((probe.product, probe.version.as_deref()), ("Valkey", Some("8.0.1")));
    }

    #[test]
    fn what_the_server_does_not_say_is_not_made_up() {
        assert_eq!(read_info(""), PrimaryProbe { product: "Redis", ..PrimaryProbe::default() });
        assert_eq!(read_info("maxmemory:0\r\n").max_memory_bytes, None);
    }
}
