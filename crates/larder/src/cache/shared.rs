//! The shared tier: one key's slot in Redis, the invalidations of its shard, and the few operations on them. Every method is
//! one round trip.

use std::{sync::Arc, time::Duration};

use ::redis::{Cmd, Value};
use bytes::Bytes;
use rand::Rng;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        coherence::Position,
        entry::{Envelope, Expired, Lease, Slot, TOMBSTONE},
        event::{epoch_of, epoch_text, filled_message},
        route::shard_after,
        tag::{Tag, token_text},
        unsent::Unsent,
        waiters::Waiters,
        write::{Block, HOLD},
    },
    dice::dice,
    redis::{Kind, Redis, Script, Space},
};

static FILL: Script = Script::new("fill", include_str!("fill.lua"));
static RELEASE: Script = Script::new("release", include_str!("release.lua"));
static RENEW: Script = Script::new("renew", include_str!("renew.lua"));
static INVALIDATE: Script = Script::new("invalidate", include_str!("invalidate.lua"));

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
    /// Somebody is writing what it caches: load, and store nothing.
    Blocked,
    /// Bytes that are not ours, or damaged.
    Corrupt,
}

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Stored,
    /// The lease was gone: it ran out, or the key was invalidated.
    LeaseLost,
    /// A tag, a pattern or the whole cache was purged since the load began.
    Purged,
    /// Of a renewal: the slot has another value by now, or none. The lease still stands.
    Other,
}

/// What one numbered invalidation does besides being logged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action<'a> {
    /// Destroys the values and the leases of these keys of the shard. Blocks stay, and leave no value.
    Unlink(&'a [String]),
    /// Destroys them, and lets nothing be filled while the block stands.
    Block(&'a [String], &'a Block),
    /// Makes their values stale where they lie, if they are still the ones that were read, leaves those that it has made
    /// stale before, and destroys the others. One for each slot: each key with all its kinds.
    Expire(&'a [String], &'a [Expired]),
    /// Puts another token under a tag.
    Tag(Tag),
    /// Marks the whole shard as purged.
    Clear,
    /// Refuses fills that began before, ahead of a purge by pattern.
    RefuseFills,
}

impl Action<'_> {
    /// Whether it concerns more than the keys it names.
    pub(crate) fn is_broad(&self) -> bool {
        !matches!(self, Self::Unlink(_) | Self::Block(..) | Self::Expire(..))
    }
}

/// The slots of one cache in Redis.
#[derive(Debug)]
pub(crate) struct Shared {
    redis: Redis,
    space: Space,
    /// Of which value of a key this is about.
    kind: Kind,
    /// In how many shards a key may stand; one, unless hot keys have replicas.
    replicas: u16,
    /// How many shards after its own a key is looked up.
    shift: u16,
    /// All of them: an invalidation destroys every one.
    kinds: Arc<[Kind]>,
    pub(crate) unsent: Arc<Unsent>,
    pub(crate) waiters: Arc<Waiters>,
    max_bytes: usize,
    /// The longest that an entry can live, and so the least that a tag's mark must.
    keep_ms: u64,
    /// Whether values may be written behind: invalidations then leave those alone that the source does not have yet.
    writes_behind: bool,
}

impl Shared {
    pub(crate) fn new(
        redis: Redis,
        space: Space,
        max_bytes: usize,
        keep_ms: u64,
        writes_behind: bool,
        parts: Vec<Kind>,
    ) -> Self {
        let kinds = [vec![Kind::whole()], parts].concat().into();
        let (unsent, waiters) = (Arc::default(), Arc::default());
        let (kind, replicas, shift) = (Kind::whole(), 1, 0);
        Self {
            redis,
            space,
            kind,
            replicas,
            shift,
            kinds,
            unsent,
            waiters,
            max_bytes,
            keep_ms,
            writes_behind,
        }
    }

    /// With so many shards for each key that is hot.
    pub(crate) fn with_replicas(mut self, replicas: u16) -> Self {
        self.replicas = replicas;
        self
    }

    pub(crate) fn replicas(&self) -> u16 {
        self.replicas
    }

    /// The slots of the same keys, so many shards on.
    pub(crate) fn shifted(&self, shift: u16) -> Self {
        Self { shift, ..self.part(self.kind.clone()) }
    }

    /// The slots of a part of the values, which was announced to [`new`](Self::new).
    pub(crate) fn part(&self, kind: Kind) -> Self {
        let (redis, space) = (self.redis.clone(), self.space.clone());
        let (kinds, unsent, waiters) = (self.kinds.clone(), self.unsent.clone(), self.waiters.clone());
        Self { redis, space, kind, kinds, unsent, waiters, ..*self }
    }

    pub(crate) fn slot(&self, key: &str) -> Result<Vec<u8>> {
        self.space.slot(self.shard_of(key), &self.kind, key.as_bytes())
    }

    pub(crate) fn control(&self, key: &str) -> Result<Vec<u8>> {
        self.space.slot_control(self.shard_of(key), &self.kind, key.as_bytes())
    }

    /// All kinds of slots that a key has.
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// For how long a tag's mark is kept after its last use, in milliseconds.
    pub(crate) fn tag_keep_ms(&self) -> u64 {
        self.keep_ms
    }

    pub(crate) fn writes_behind(&self) -> bool {
        self.writes_behind
    }

    /// The key of an entry's slot, for `explain`.
    pub(crate) fn slot_key(&self, key: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.slot(key)?).into_owned())
    }

    /// Which shard a key is looked up in: the keys of one shard can share a round trip.
    pub(crate) fn shard_of(&self, key: &str) -> u16 {
        shard_after(self.home_of(key), self.shift, self.space.shards())
    }

    /// Whether what Redis says about a key may be believed: nothing of it is owed to any shard where it may stand.
    pub(crate) fn trusts(&self, key: &str) -> bool {
        self.unsent.trusts(key, || self.shards_of(key))
    }

    /// Whether Redis has not acknowledged something yet.
    pub(crate) fn owes(&self) -> bool {
        self.unsent.len() > 0
    }

    /// Which shard a key belongs to.
    pub(crate) fn home_of(&self, key: &str) -> u16 {
        self.space.shard_of(key.as_bytes())
    }

    /// Where a shard's invalidations are announced.
    pub(crate) fn channel(&self, shard: u16) -> Vec<u8> {
        self.space.of_shard(shard, "ch")
    }

    /// Reads a slot, and takes its lease if it is empty: `SET slot lease NX GET PX`, which writes nothing on a hit.
    pub(crate) async fn lookup(&self, key: &str, lease: &Lease) -> Result<Lookup> {
        let slot = self.slot(key)?;
        match self.redis.command(&slot, &lookup_command(&slot, lease)).await {
            Ok(value) => self.found(value, lease),
            Err(error) => Box::pin(self.look_without_lease(&slot, error)).await,
        }
    }

    pub(crate) fn found(&self, value: Value, lease: &Lease) -> Result<Lookup> {
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
            Ok(Slot::Blocked) => Lookup::Blocked,
            Err(_) => Lookup::Corrupt,
        })
    }

    /// A full Redis refuses every `SET`, also one that would write nothing; what is there can still be read.
    pub(crate) async fn look_without_lease(&self, slot: &[u8], error: Error) -> Result<Lookup> {
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
        let slot = self.slot(key)?;
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
        let control = self.control(key)?;
        Ok(self.redis.command(&control, &lease_command(&control, lease)).await? != Value::Nil)
    }

    /// Stores a value under its lease, unless something it belongs to was purged since its load began.
    pub(crate) async fn fill(
        &self,
        key: &str,
        lease: &Lease,
        envelope: &Envelope,
        compress_above: Option<usize>,
    ) -> Result<Filled> {
        let call = self.fill_call(key, lease, envelope, &envelope.encode(compress_above), None)?;
        Ok(filled(&self.redis.eval_call(&FILL, &call).await?))
    }

    /// Turns the value that stands in the slot into `renewed`, which differs in its header only, without sending the rest
    /// of it; by the rules of [`fill`](Self::fill).
    pub(crate) async fn renew_value(
        &self,
        key: &str,
        lease: &Lease,
        stored: &Envelope,
        renewed: &Envelope,
        compress_above: Option<usize>,
    ) -> Result<Filled> {
        let (stored, header) = (stored.header(compress_above), renewed.header(compress_above));
        let call = self.fill_call(key, lease, renewed, &header, Some(&stored))?;
        Ok(filled(&self.redis.eval_call(&FILL, &call).await?))
    }

    /// The call of `fill.lua` that stores `bytes`; its reply is read by [`filled`].
    pub(crate) fn fill_call(
        &self,
        key: &str,
        lease: &Lease,
        envelope: &Envelope,
        bytes: &[u8],
        renews: Option<&[u8]>,
    ) -> Result<Cmd> {
        let shard = self.shard_of(key);
        let mut keys = vec![self.slot(key)?, self.control(key)?];
        keys.extend(["q", "ep", "g", "fe"].map(|name| self.space.of_shard(shard, name)));
        keys.extend([self.space.slot_waiters(shard, key.as_bytes())?, self.channel(shard)]);
        keys.extend(envelope.tags.iter().map(|tag| self.tag_key(shard, tag.hash)));
        let (epoch, seq) = (epoch_text(envelope.at.epoch), envelope.at.seq.to_string());
        let (life_ms, tag_ms) = (envelope.life.keep_ms().to_string(), self.keep_ms.to_string());
        let told = filled_message(key);
        let tokens: Vec<String> = envelope.tags.iter().map(|tag| token_text(tag.token)).collect();
        let mut args: Vec<&[u8]> = vec![
            lease.as_bytes(),
            bytes,
            life_ms.as_bytes(),
            epoch.as_bytes(),
            seq.as_bytes(),
            tag_ms.as_bytes(),
            renews.unwrap_or_default(),
            &told,
        ];
        args.extend(tokens.iter().map(String::as_bytes));
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        Ok(FILL.command(&keys, &args))
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, key: &str, lease: &Lease) -> Result<()> {
        self.redis.eval_call(&RELEASE, &self.release_call(key, lease)?).await.map(drop)
    }

    pub(crate) fn release_call(&self, key: &str, lease: &Lease) -> Result<Cmd> {
        let (slot, control, shard) = (self.slot(key)?, self.control(key)?, self.shard_of(key));
        let (note, channel) = (self.space.slot_waiters(shard, key.as_bytes())?, self.channel(shard));
        Ok(RELEASE.command(&[&slot, &control, &note, &channel], &[lease.as_bytes(), &filled_message(key)]))
    }

    /// The call that prolongs a lease. A lost lease is noticed by the fill, which is refused.
    pub(crate) fn renew_call(&self, key: &str, lease: &Lease) -> Result<Cmd> {
        let (slot, control) = (self.slot(key)?, self.control(key)?);
        let hold_ms = LEASE.as_millis().to_string();
        Ok(RENEW.command(&[&slot, &control], &[lease.as_bytes(), hold_ms.as_bytes()]))
    }

    /// Carries out one invalidation of a shard under the next number of its sequence, logs and announces it.
    pub(crate) async fn invalidate(&self, shard: u16, action: Action<'_>, event: &[u8]) -> Result<Position> {
        let mut keys: Vec<Vec<u8>> =
            ["q", "ep", "log", "ch"].map(|name| self.space.of_shard(shard, name)).into();
        let (mode, life_ms) = match action {
            Action::Unlink(texts) | Action::Block(texts, _) | Action::Expire(texts, _) => {
                for (text, kind) in
                    texts.iter().flat_map(|text| self.kinds.iter().map(move |kind| (text, kind)))
                {
                    keys.push(self.space.slot(shard, kind, text.as_bytes())?);
                    keys.push(self.space.slot_control(shard, kind, text.as_bytes())?);
                }
                match action {
                    Action::Block(..) => ("B", HOLD.as_millis() as u64),
                    Action::Expire(..) => ("E", 0),
                    _ => ("U", 0),
                }
            }
            Action::Tag(tag) => {
                keys.push(self.tag_key(shard, tag.hash));
                ("M", self.keep_ms)
            }
            Action::Clear => {
                keys.push(self.space.of_shard(shard, "g"));
                ("M", 0)
            }
            Action::RefuseFills => {
                keys.push(self.space.of_shard(shard, "fe"));
                ("M", 0)
            }
        };
        keys.extend(self.notes(shard));
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let (epoch, life_ms) = (new_epoch(), life_ms.to_string());
        let spares: &[u8] = if self.writes_behind { b"1" } else { b"0" };
        let mut args = vec![mode.as_bytes(), epoch.as_bytes(), event, life_ms.as_bytes(), &TOMBSTONE, spares];
        if let Action::Block(_, block) = action {
            args.extend([&block.token()[..], if block.is_renewed() { b"1" } else { b"0" }]);
        }
        let token = if let Action::Tag(tag) = action { token_text(tag.token) } else { String::new() };
        if !token.is_empty() {
            args.push(token.as_bytes());
        }
        let expired = if let Action::Expire(_, expired) = action { expired } else { &[] };
        let keep_ms: Vec<String> = expired.iter().map(|value| value.keep_ms.to_string()).collect();
        for (value, keep_ms) in expired.iter().zip(&keep_ms) {
            args.extend([&value.begins[..], &value.header[..], keep_ms.as_bytes()]);
        }
        let reply = self.redis.eval_when_whole(&INVALIDATE, &keys, &args).await?;
        let Value::Array(parts) = reply else { return Err(unexpected()) };
        position_of(parts.first(), parts.get(1))
    }

    /// Where a shard notes what was spared because it is still to be written behind; `None` where nothing is.
    pub(crate) fn notes(&self, shard: u16) -> Option<Vec<u8>> {
        self.writes_behind.then(|| self.space.of_shard(shard, "wb:i"))
    }

    pub(crate) fn tag_key(&self, shard: u16, tag: u64) -> Vec<u8> {
        self.space.of_shard(shard, &format!("t:{tag:016x}"))
    }

    /// What remains of a slot's hard expiry; `None` if the slot is empty.
    pub(crate) async fn remaining(&self, key: &str) -> Result<Option<Duration>> {
        self.remaining_of(&self.slot(key)?).await
    }

    /// What remains of the lease beside a slot; `None` if nobody has it.
    pub(crate) async fn remaining_lease(&self, key: &str) -> Result<Option<Duration>> {
        self.remaining_of(&self.control(key)?).await
    }

    async fn remaining_of(&self, name: &[u8]) -> Result<Option<Duration>> {
        let mut pttl = ::redis::cmd("PTTL");
        pttl.arg(name);
        match self.redis.command(name, &pttl).await? {
            Value::Int(ms) if ms >= 0 => Ok(Some(Duration::from_millis(ms as u64))),
            _ => Ok(None),
        }
    }
}

pub(crate) fn lookup_command(slot: &[u8], lease: &Lease) -> Cmd {
    let mut set = Cmd::with_capacity(7, slot.len() + 48);
    set.arg("SET").arg(slot).arg(lease.as_bytes()).arg("NX").arg("GET").arg("PX");
    set.arg(LEASE.as_millis() as u64);
    set
}

pub(crate) fn lease_command(control: &[u8], lease: &Lease) -> Cmd {
    let mut set = Cmd::with_capacity(6, control.len() + 48);
    set.arg("SET").arg(control).arg(lease.as_bytes()).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
    set
}

/// What `fill.lua` says that it did.
pub(crate) fn filled(reply: &Value) -> Filled {
    match reply {
        Value::Int(1) => Filled::Stored,
        Value::Int(2) => Filled::Purged,
        Value::Int(3) => Filled::Other,
        _ => Filled::LeaseLost,
    }
}

pub(crate) fn is_wrong_type(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt
}

pub(crate) fn node_text(node: u64) -> String {
    format!("{node:016x}")
}

pub(crate) fn new_epoch() -> String {
    epoch_text(dice().random_range(1..=u64::MAX))
}

pub(crate) fn unexpected() -> Error {
    Error::new(ErrorKind::Corrupt, "redis answered something else than this script returns")
}

pub(crate) fn text_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

pub(crate) fn number_of(value: &Value) -> Option<u64> {
    std::str::from_utf8(text_of(value)?).ok()?.parse().ok()
}

pub(crate) fn position_of(epoch: Option<&Value>, seq: Option<&Value>) -> Result<Position> {
    let epoch = epoch.and_then(text_of).and_then(epoch_of).ok_or_else(unexpected)?;
    Ok(Position { epoch, seq: seq.and_then(number_of).ok_or_else(unexpected)? })
}
