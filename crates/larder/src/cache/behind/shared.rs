//! Write-behind in Redis: the stream of operations of each shard, its owner, and its dead letters. Every method is one round
//! trip.

use std::{sync::Arc, time::Duration};

use ::redis::Value;
use bytes::Bytes;

use crate::{
    Result,
    cache::{
        behind::{
            op::{Letter, NOWHERE, Op},
            sweep::Place,
        },
        coherence::Position,
        event::{epoch_of, epoch_text},
        shared::{Shared, new_epoch, node_text, number_of, position_of, text_of, unexpected},
    },
    redis::Script,
};

static PUT: Script = Script::new("put", include_str!("put.lua"));
static CLAIM: Script = Script::new("claim", include_str!("claim.lua"));
static KEEP: Script = Script::new("keep", include_str!("keep.lua"));
static SETTLE: Script = Script::new("settle", include_str!("settle.lua"));
static BURY: Script = Script::new("bury", include_str!("bury.lua"));
static REPLAY: Script = Script::new("replay", include_str!("replay.lua"));
static DISCARD: Script = Script::new("discard", include_str!("discard.lua"));

/// How many dead letters one step of a listing brings, about.
const SCAN_STEP: usize = 100;

/// The right to carry out a shard's operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fence(Vec<u8>);

/// What a node was told that asked for work.
#[derive(Debug)]
pub(crate) enum Claim {
    Nothing,
    /// Another node is the owner, for so long unless it goes on.
    Held(Duration),
    Owned(Batch),
}

/// What an owner was given.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) fence: Fence,
    pub(crate) ops: Vec<Op>,
    /// The ids of entries among them that are no operations: foreign, or damaged.
    pub(crate) foreign: Vec<Vec<u8>>,
    /// How many steps the shard's owners have taken, this one included.
    pub(crate) steps: u64,
    /// How many operations there are, if these are the oldest; `None` if they are those from the owner's place on.
    pub(crate) all: Option<u64>,
}

/// An acknowledged write.
#[derive(Debug)]
pub(crate) struct Acked {
    pub(crate) at: Position,
    pub(crate) version: u64,
    /// The backlog is full: the writer has to wait.
    pub(crate) waits: bool,
}

/// What becomes of the slot of one key whose operations are done.
#[derive(Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: u64,
    pub(crate) acked: Position,
    pub(crate) header: Vec<u8>,
    pub(crate) keep_ms: u64,
}

/// What became of an operation that was to be a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buried {
    Done,
    Fenced,
    /// There are too many.
    Full,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Gone,
    Done,
    Superseded,
}

/// The operations of one cache in Redis.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    node: u64,
}

impl Ledger {
    pub(crate) fn new(shared: Arc<Shared>, node: u64) -> Self {
        Self { shared, node }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn key(&self, shard: u16, name: &str) -> Vec<u8> {
        self.shared.space().of_shard(shard, name)
    }

    fn keys<const N: usize>(&self, shard: u16, names: [&str; N]) -> Vec<Vec<u8>> {
        names.map(|name| self.key(shard, name)).into()
    }

    fn slot_and_lease(&self, key: &str) -> Result<[Vec<u8>; 2]> {
        let space = self.shared.space();
        Ok([space.entry(key.as_bytes())?, space.control(key.as_bytes())?])
    }

    async fn eval(&self, script: &'static Script, keys: &[Vec<u8>], args: &[&[u8]]) -> Result<Value> {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        self.shared.redis().eval_when_whole(script, &keys, args).await
    }

    /// Acknowledges a write; `None` if the backlog is far too long.
    pub(crate) async fn put(
        &self,
        key: &str,
        slot: &[u8],
        event: &[u8],
        backlog: u64,
    ) -> Result<Option<Acked>> {
        let shard = self.shared.shard_of(key);
        let mut keys = self.keys(shard, ["q", "ep", "log", "ch"]);
        keys.extend(self.slot_and_lease(key)?);
        keys.extend(self.keys(shard, ["wb", "wb:p"]));
        let (epoch, soft, hard) = (new_epoch(), backlog.to_string(), (backlog * 2).to_string());
        let args = [epoch.as_bytes(), event, key.as_bytes(), slot, soft.as_bytes(), hard.as_bytes()];
        let Value::Array(parts) = self.eval(&PUT, &keys, &args).await? else { return Err(unexpected()) };
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Acked {
            at: position_of(parts.first(), parts.get(1))?,
            version: parts.get(2).and_then(number_of).ok_or_else(unexpected)?,
            waits: parts.get(3).and_then(number_of) == Some(1),
        }))
    }

    /// Asks for the shard and its operations from `place` on, or the oldest if that is not to be had.
    pub(crate) async fn claim(
        &self,
        shard: u16,
        lease: Duration,
        most: usize,
        place: Place,
    ) -> Result<Claim> {
        let keys = self.keys(shard, ["wb:own", "wb"]);
        let (node, lease, most) = (node_text(self.node), lease.as_millis().to_string(), most.to_string());
        let (from, steps) = (place.from.to_string(), place.steps.to_string());
        let args = [node.as_bytes(), lease.as_bytes(), most.as_bytes(), from.as_bytes(), steps.as_bytes()];
        let Value::Array(parts) = self.eval(&CLAIM, &keys, &args).await? else { return Err(unexpected()) };
        match &parts[..] {
            [Value::Int(0)] => Ok(Claim::Nothing),
            [Value::Int(1), Value::Int(ms)] => Ok(Claim::Held(Duration::from_millis((*ms).max(0) as u64))),
            [Value::Int(2), ..] => batch_of(parts).map(Claim::Owned),
            _ => Err(unexpected()),
        }
    }

    /// Prolongs the ownership, or gives it up with a lease of zero; false if it is lost.
    pub(crate) async fn keep(&self, shard: u16, fence: &Fence, lease: Duration) -> Result<bool> {
        let (node, lease) = (node_text(self.node), lease.as_millis().to_string());
        let args = [node.as_bytes(), &fence.0, lease.as_bytes()];
        Ok(self.eval(&KEEP, &self.keys(shard, ["wb:own"]), &args).await? == Value::Int(1))
    }

    /// Strikes off the entries with the ids `done`; false if somebody else owns the shard.
    pub(crate) async fn settle(
        &self,
        shard: u16,
        fence: &Fence,
        keys: &[Settled<'_>],
        done: &[Vec<u8>],
        event: &[u8],
    ) -> Result<bool> {
        let mut names = self.keys(shard, ["wb:own", "wb", "wb:p", "wb:dlq", "q", "ep", "log", "ch"]);
        names.extend(self.shared.notes(shard));
        let mut args: Vec<Vec<u8>> = vec![
            node_text(self.node).into(),
            fence.0.clone(),
            new_epoch().into(),
            event.to_vec(),
            keys.len().to_string().into(),
        ];
        for settled in keys {
            names.extend(self.slot_and_lease(settled.key)?);
            args.push(settled.key.into());
            args.push(settled.version.to_string().into());
            args.push(epoch_text(settled.acked.epoch).into());
            args.push(settled.acked.seq.to_string().into());
            args.push(settled.header.clone());
            args.push(settled.keep_ms.to_string().into());
        }
        args.extend_from_slice(done);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        Ok(self.eval(&SETTLE, &names, &args).await? == Value::Int(1))
    }

    /// Puts a key's last operation among the dead letters.
    pub(crate) async fn bury(
        &self,
        shard: u16,
        fence: &Fence,
        key: &str,
        letter: &Letter,
        replaces: &[u64],
        most: u64,
    ) -> Result<Buried> {
        let keys = self.keys(shard, ["wb:own", "wb", "wb:dlq", "wb:p"]);
        let (node, most, version) = (node_text(self.node), most.to_string(), letter.version.to_string());
        let (bytes, replaces): (_, Vec<String>) =
            (letter.encode(), replaces.iter().map(u64::to_string).collect());
        let mut args: Vec<&[u8]> =
            vec![node.as_bytes(), &fence.0, most.as_bytes(), key.as_bytes(), &bytes, version.as_bytes()];
        args.extend(replaces.iter().map(String::as_bytes));
        match self.eval(&BURY, &keys, &args).await? {
            Value::Int(0) => Ok(Buried::Fenced),
            Value::Int(1) => Ok(Buried::Done),
            Value::Int(2) => Ok(Buried::Full),
            _ => Err(unexpected()),
        }
    }

    /// The version of the shard's oldest operation, and of its newest; `None` if it has none.
    pub(crate) async fn ends(&self, shard: u16) -> Result<Option<(u64, u64)>> {
        let stream = self.key(shard, "wb");
        let range = |name: &str, from: &str, to: &str| {
            let mut range = ::redis::cmd(name);
            range.arg(&stream).arg(from).arg(to).arg("COUNT").arg(1);
            range
        };
        let commands = vec![range("XRANGE", "-", "+"), range("XREVRANGE", "+", "-")];
        let mut versions = Vec::with_capacity(2);
        for reply in self.shared.redis().pipeline(&stream, commands).await? {
            let Value::Array(entries) = reply? else { return Err(unexpected()) };
            let Some(entry) = entries.into_iter().next() else { return Ok(None) };
            versions.push(version_of(&entry_of(entry)?.0)?);
        }
        match versions[..] {
            [oldest, newest] => Ok(Some((oldest, newest))),
            _ => Err(unexpected()),
        }
    }

    /// Whether an operation is still in the stream.
    pub(crate) async fn has(&self, shard: u16, version: u64) -> Result<bool> {
        let stream = self.key(shard, "wb");
        let mut range = ::redis::cmd("XRANGE");
        let id = Op::id(version);
        range.arg(&stream).arg(&id).arg(&id);
        match self.shared.redis().command(&stream, &range).await? {
            Value::Array(entries) => Ok(!entries.is_empty()),
            _ => Err(unexpected()),
        }
    }

    /// How many operations and dead letters a shard has, and the version of its oldest operation.
    pub(crate) async fn counts(&self, shard: u16) -> Result<(u64, u64, Option<u64>)> {
        let (stream, dead) = (self.key(shard, "wb"), self.key(shard, "wb:dlq"));
        let mut length = ::redis::cmd("XLEN");
        length.arg(&stream);
        let mut letters = ::redis::cmd("HLEN");
        letters.arg(&dead);
        let mut oldest = ::redis::cmd("XRANGE");
        oldest.arg(&stream).arg("-").arg("+").arg("COUNT").arg(1);
        let replies = self.shared.redis().pipeline(&stream, vec![length, letters, oldest]).await?;
        let replies = replies.into_iter().collect::<Result<Vec<_>>>()?;
        match <[Value; 3]>::try_from(replies) {
            Ok([Value::Int(ops), Value::Int(letters), Value::Array(oldest)]) => {
                let version = |entry| version_of(&entry_of(entry)?.0);
                let oldest = oldest.into_iter().next().map(version).transpose()?;
                Ok((ops.max(0) as u64, letters.max(0) as u64, oldest))
            }
            _ => Err(unexpected()),
        }
    }

    /// One bounded step through a shard's dead letters: the next cursor, 0 at the end, and what was found.
    pub(crate) async fn letters(&self, shard: u16, cursor: u64) -> Result<(u64, Vec<(String, Bytes)>)> {
        let dead = self.key(shard, "wb:dlq");
        let mut scan = ::redis::cmd("HSCAN");
        scan.arg(&dead).arg(cursor).arg("COUNT").arg(SCAN_STEP);
        letters_of(self.shared.redis().command(&dead, &scan).await?)
    }

    /// The dead letter of one key.
    pub(crate) async fn letter(&self, key: &str) -> Result<Option<Bytes>> {
        let dead = self.key(self.shared.shard_of(key), "wb:dlq");
        let mut get = ::redis::cmd("HGET");
        get.arg(&dead).arg(key);
        match self.shared.redis().command(&dead, &get).await? {
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::Nil => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// Hands a letter in again.
    pub(crate) async fn replay(&self, key: &str, bytes: &[u8], letter: &Letter) -> Result<Touched> {
        let shard = self.shared.shard_of(key);
        let mut keys = self.keys(shard, ["wb:dlq", "wb", "wb:p"]);
        keys.push(self.shared.space().entry(key.as_bytes())?);
        keys.extend(self.keys(shard, ["ep", "q"]));
        let version = letter.version.to_string();
        touched(&self.eval(&REPLAY, &keys, &[key.as_bytes(), bytes, version.as_bytes(), &letter.slot]).await?)
    }

    /// Throws a letter away. Of one that is damaged nobody knows the version.
    pub(crate) async fn discard(
        &self,
        key: &str,
        bytes: &[u8],
        version: Option<u64>,
        event: &[u8],
    ) -> Result<Touched> {
        let shard = self.shared.shard_of(key);
        let mut keys = self.keys(shard, ["wb:dlq", "wb:p"]);
        keys.extend(self.slot_and_lease(key)?);
        keys.extend(self.keys(shard, ["q", "ep", "log", "ch"]));
        keys.extend(self.shared.notes(shard));
        keys.push(self.key(shard, "wb"));
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        let epoch = new_epoch();
        let args = [key.as_bytes(), bytes, version.as_bytes(), epoch.as_bytes(), event];
        touched(&self.eval(&DISCARD, &keys, &args).await?)
    }
}

fn touched(reply: &Value) -> Result<Touched> {
    match reply {
        Value::Int(0) => Ok(Touched::Gone),
        Value::Int(1) => Ok(Touched::Done),
        Value::Int(2) => Ok(Touched::Superseded),
        _ => Err(unexpected()),
    }
}

/// `[next cursor, [key, letter, ...]]`
pub(crate) fn letters_of(reply: Value) -> Result<(u64, Vec<(String, Bytes)>)> {
    let Value::Array(mut parts) = reply else { return Err(unexpected()) };
    let (Some(Value::Array(fields)), Some(next)) = (parts.pop(), parts.pop()) else {
        return Err(unexpected());
    };
    let mut letters = Vec::with_capacity(fields.len() / 2);
    let mut fields = fields.into_iter();
    while let (Some(key), Some(Value::BulkString(letter))) = (fields.next(), fields.next()) {
        let key = text_of(&key).ok_or_else(unexpected)?;
        letters.push((String::from_utf8_lossy(key).into_owned(), letter.into()));
    }
    Ok((number_of(&next).ok_or_else(unexpected)?, letters))
}

/// `[2, fence, operations, steps, how many there are]`
pub(crate) fn batch_of(parts: Vec<Value>) -> Result<Batch> {
    let Ok([_, fence, Value::Array(entries), steps, Value::Int(all)]) = <[Value; 5]>::try_from(parts) else {
        return Err(unexpected());
    };
    let (mut ops, mut foreign) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        let (id, fields) = entry_of(entry)?;
        match op_of(&id, fields) {
            Some(op) => ops.push(op),
            None => foreign.push(id),
        }
    }
    Ok(Batch {
        fence: Fence(text_of(&fence).ok_or_else(unexpected)?.to_vec()),
        ops,
        foreign,
        steps: number_of(&steps).ok_or_else(unexpected)?,
        all: u64::try_from(all).ok().filter(|all| *all > 0),
    })
}

/// The id of an entry of the stream, and its fields.
fn entry_of(entry: Value) -> Result<(Vec<u8>, Vec<Value>)> {
    let Value::Array(parts) = entry else { return Err(unexpected()) };
    let Ok([id, Value::Array(fields)]) = <[Value; 2]>::try_from(parts) else { return Err(unexpected()) };
    Ok((text_of(&id).ok_or_else(unexpected)?.to_vec(), fields))
}

/// The first number of an id.
fn version_of(id: &[u8]) -> Result<u64> {
    let version = id.split(|byte| *byte == b'-').next().and_then(|text| std::str::from_utf8(text).ok());
    version.and_then(|version| version.parse().ok()).ok_or_else(unexpected)
}

/// `<version>-0` with `["p", epoch, "n", number, "k", key, "e", slot]`, without the first two fields if an older version has written it.
/// `None` for whatever else stands in the stream.
fn op_of(id: &[u8], fields: Vec<Value>) -> Option<Op> {
    let version = version_of(id.strip_suffix(b"-0")?).ok()?;
    let (mut acked, mut key, mut slot) = (NOWHERE, None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match (text_of(&name), value) {
            (Some(b"p"), epoch) => acked.epoch = text_of(&epoch).and_then(epoch_of).unwrap_or_default(),
            (Some(b"n"), number) => acked.seq = number_of(&number).unwrap_or_default(),
            (Some(b"k"), text) => key = text_of(&text).map(|text| String::from_utf8_lossy(text).into_owned()),
            (Some(b"e"), Value::BulkString(bytes)) => slot = Some(bytes.into()),
            _ => {}
        }
    }
    Some(Op { version, acked, key: key?, slot: slot? })
}
