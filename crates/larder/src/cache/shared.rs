//! The shared tier: one key's slot in Redis, and the few operations on it. Every method is one round trip.

use std::time::Duration;

use ::redis::{Cmd, Value};
use bytes::Bytes;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        TierState,
        entry::{Envelope, Lease, Slot},
        unsent::Unsent,
    },
    redis::{Redis, Script, Space},
};

static FILL: Script = Script::new("fill", include_str!("fill.lua"));
static RELEASE: Script = Script::new("release", include_str!("release.lua"));
static RENEW: Script = Script::new("renew", include_str!("renew.lua"));

/// How long a lease stands without renewal: how long waiters on other nodes can be held up by a node that died.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// What a look-up found in a key's slot.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// A value.
    Value(Envelope),
    /// Nothing; the lease is now ours.
    Leased,
    /// Somebody else's lease.
    Busy,
    /// Bytes that are not ours, or damaged.
    Corrupt,
}

/// The slots of one cache in Redis.
#[derive(Debug)]
pub(crate) struct Shared {
    redis: Redis,
    space: Space,
    pub(crate) unsent: Unsent,
    max_bytes: usize,
}

impl Shared {
    pub(crate) fn new(redis: Redis, space: Space, max_bytes: usize) -> Self {
        Self { redis, space, unsent: Unsent::default(), max_bytes }
    }

    /// The key of an entry's slot, for `explain`.
    pub(crate) fn slot_key(&self, key: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.space.entry(key.as_bytes())?).into_owned())
    }

    /// Which shard a key belongs to: the keys of one shard can share a round trip.
    pub(crate) fn shard_of(&self, key: &str) -> u16 {
        self.space.shard_of(key.as_bytes())
    }

    /// Reads a slot, and takes its lease if it is empty: `SET slot lease NX GET PX`, which writes nothing on a hit.
    pub(crate) async fn lookup(&self, key: &str, lease: &Lease) -> Result<Lookup> {
        let slot = self.space.entry(key.as_bytes())?;
        match self.redis.command(&slot, &lookup_command(&slot, lease)).await {
            Ok(value) => self.found(value, lease),
            Err(error) => self.look_without_lease(&slot, error).await,
        }
    }

    /// [`Shared::lookup`] of several keys of one shard, in one round trip.
    pub(crate) async fn lookup_many(&self, keys: &[&str], lease: &Lease) -> Result<Vec<Result<Lookup>>> {
        let slots = keys.iter().map(|key| self.space.entry(key.as_bytes())).collect::<Result<Vec<_>>>()?;
        let Some(first) = slots.first() else { return Ok(Vec::new()) };
        let commands = slots.iter().map(|slot| lookup_command(slot, lease)).collect();
        let replies = self.redis.pipeline(first, commands).await?;
        Ok(replies
            .into_iter()
            .map(|reply| match reply {
                Ok(value) => self.found(value, lease),
                Err(error) if is_wrong_type(&error) => Ok(Lookup::Corrupt),
                Err(error) => Err(error),
            })
            .collect())
    }

    fn found(&self, value: Value, lease: &Lease) -> Result<Lookup> {
        let bytes = match value {
            Value::Nil => return Ok(Lookup::Leased),
            Value::BulkString(bytes) => Bytes::from(bytes),
            _ => return Ok(Lookup::Corrupt),
        };
        Ok(match Slot::decode(&bytes, self.max_bytes) {
            Ok(Slot::Value(envelope)) => Lookup::Value(envelope),
            // A repeat after an unknown outcome finds its own lease.
            Ok(Slot::Lease(held)) if held == *lease => Lookup::Leased,
            Ok(Slot::Lease(_)) => Lookup::Busy,
            Err(_) => Lookup::Corrupt,
        })
    }

    /// A full Redis refuses every `SET`, also one that would write nothing; what is there can still be read.
    async fn look_without_lease(&self, slot: &[u8], error: Error) -> Result<Lookup> {
        if is_wrong_type(&error) {
            return Ok(Lookup::Corrupt);
        }
        if error.kind() != ErrorKind::Full {
            return Err(error);
        }
        let mut get = ::redis::cmd("GET");
        get.arg(slot);
        match self.redis.command(slot, &get).await? {
            Value::Nil => Err(error),
            value => self.found(value, &Lease::random()),
        }
    }

    /// Reads a slot and takes nothing.
    pub(crate) async fn peek(&self, key: &str) -> Result<Option<Slot>> {
        let slot = self.space.entry(key.as_bytes())?;
        let mut get = ::redis::cmd("GET");
        get.arg(&slot);
        match self.redis.command(&slot, &get).await {
            Ok(Value::BulkString(bytes)) => Slot::decode(&Bytes::from(bytes), self.max_bytes).map(Some),
            Ok(_) => Ok(None),
            Err(error) if is_wrong_type(&error) => {
                Err(Error::new(ErrorKind::Corrupt, "a key of another type"))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the lease beside a slot that is not empty; false if somebody holds it.
    pub(crate) async fn lease_refresh(&self, key: &str, lease: &Lease) -> Result<bool> {
        let control = self.space.control(key.as_bytes())?;
        let mut set = ::redis::cmd("SET");
        set.arg(&control).arg(lease.as_bytes()).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
        Ok(self.redis.command(&control, &set).await? != Value::Nil)
    }

    /// Stores a value under its lease; false if the lease is gone.
    pub(crate) async fn fill(&self, key: &str, lease: &Lease, bytes: &[u8], keep_ms: u64) -> Result<bool> {
        let (slot, control) = (self.space.entry(key.as_bytes())?, self.space.control(key.as_bytes())?);
        let keep_ms = keep_ms.to_string();
        let keys = [&slot[..], &control[..]];
        let stored = self.redis.eval(&FILL, &keys, &[lease.as_bytes(), bytes, keep_ms.as_bytes()]).await?;
        Ok(stored == Value::Int(1))
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, key: &str, lease: &Lease) -> Result<()> {
        let (slot, control) = (self.space.entry(key.as_bytes())?, self.space.control(key.as_bytes())?);
        let keys = [&slot[..], &control[..]];
        self.redis.eval(&RELEASE, &keys, &[lease.as_bytes()]).await.map(drop)
    }

    /// Prolongs a lease; false if it is gone.
    pub(crate) async fn renew(&self, key: &str, lease: &Lease) -> Result<bool> {
        let (slot, control) = (self.space.entry(key.as_bytes())?, self.space.control(key.as_bytes())?);
        let hold_ms = LEASE.as_millis().to_string();
        let keys = [&slot[..], &control[..]];
        let renewed = self.redis.eval(&RENEW, &keys, &[lease.as_bytes(), hold_ms.as_bytes()]).await?;
        Ok(renewed == Value::Int(1))
    }

    /// Destroys the values and the leases of keys of one shard, in one command: a fill that was leased before finds
    /// nothing to fill.
    pub(crate) async fn invalidate(&self, keys: &[String]) -> Result<()> {
        let mut unlink = ::redis::cmd("UNLINK");
        let mut route = None;
        for key in keys {
            let slot = self.space.entry(key.as_bytes())?;
            unlink.arg(&slot).arg(self.space.control(key.as_bytes())?);
            route.get_or_insert(slot);
        }
        match route {
            Some(slot) => self.redis.command(&slot, &unlink).await.map(drop),
            None => Ok(()),
        }
    }

    /// What the slot holds, for `explain`. Two round trips.
    pub(crate) async fn state(&self, key: &str, now_unix_ms: u64) -> TierState {
        let (slot, remaining) = (self.peek(key).await, self.remaining(key).await);
        let left = remaining.ok().flatten().unwrap_or_default();
        match slot {
            Ok(None) => TierState::Empty,
            Ok(Some(Slot::Lease(_))) => TierState::Leased { runs_out_in: left },
            Ok(Some(Slot::Value(envelope))) => {
                let age_ms = envelope.age_ms(now_unix_ms);
                TierState::Holds {
                    present: envelope.payload.is_some(),
                    age: Duration::from_millis(age_ms),
                    fresh_for: Duration::from_millis(
                        u64::from(envelope.life.fresh_ms).saturating_sub(age_ms),
                    ),
                    kept_for: left,
                    size: envelope.payload.map_or(0, |payload| payload.len()),
                }
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => TierState::Corrupt(error.to_string()),
            Err(error) => TierState::Unreachable(error.to_string()),
        }
    }

    /// What remains of a slot's hard expiry; `None` if the slot is empty.
    pub(crate) async fn remaining(&self, key: &str) -> Result<Option<Duration>> {
        let slot = self.space.entry(key.as_bytes())?;
        let mut pttl = ::redis::cmd("PTTL");
        pttl.arg(&slot);
        match self.redis.command(&slot, &pttl).await? {
            Value::Int(ms) if ms >= 0 => Ok(Some(Duration::from_millis(ms as u64))),
            _ => Ok(None),
        }
    }
}

fn lookup_command(slot: &[u8], lease: &Lease) -> Cmd {
    let mut set = ::redis::cmd("SET");
    set.arg(slot).arg(lease.as_bytes()).arg("NX").arg("GET").arg("PX").arg(LEASE.as_millis() as u64);
    set
}

fn is_wrong_type(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt
}
