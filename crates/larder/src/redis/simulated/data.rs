//! What a simulated Redis holds, and the commands that Larder and its scripts use, with their meaning in Redis 7.

use std::collections::BTreeMap;

use ::redis::{Value, parse_redis_value};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::cache::matches;

/// Every key, with when it goes away. Ordered, so that a seed picks the same one each time.
#[derive(Clone, Default)]
pub(super) struct Data {
    items: BTreeMap<Vec<u8>, (Item, Option<u64>)>,
    /// Nothing goes away before.
    soonest_ms: u64,
    /// The server's replication history.
    pub(super) history: String,
}

#[derive(Clone)]
enum Item {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Log(Log),
}

#[derive(Clone, Default)]
struct Log {
    /// The fields of each entry, names and values in turn.
    entries: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Remembered though the entry be gone.
    last: u64,
}

/// A channel, and what was published there.
pub(super) type Announced = (Vec<u8>, Vec<u8>);

/// A log keeps hardly anything here, so that nodes meet one that does not reach back.
const LOGGED: usize = 6;
/// Where a key may stand, for a scan: so many steps go past all of them.
const PLACES: u64 = 4;

impl Data {
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.items.keys().cloned().collect()
    }

    pub(super) fn lose(&mut self, key: &[u8]) {
        self.items.remove(key);
    }

    pub(super) fn lose_everything(&mut self) {
        self.items.clear();
    }

    /// Carries out one command, and adds to `published` what it announces.
    pub(super) fn run(&mut self, now_ms: u64, command: &[&[u8]], published: &mut Vec<Announced>) -> Value {
        self.forget_what_expired(now_ms);
        let name = String::from_utf8_lossy(command[0]).to_uppercase();
        let args = &command[1..];
        match name.as_str() {
            "GET" => self.text(args[0]).map_or_else(|refusal| refusal, bulk),
            "MGET" => Value::Array(args.iter().map(|key| bulk(self.text(key).ok().flatten())).collect()),
            "SET" => self.set(now_ms, args),
            "GETRANGE" => self.range(args),
            "SETRANGE" => self.overwrite(args),
            "PEXPIRE" => self.expire(now_ms, args),
            "PTTL" => Value::Int(match self.items.get(args[0]) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(until))) => (until - now_ms) as i64,
            }),
            "INCR" => self.increment(args[0]),
            "EXISTS" => Value::Int(args.iter().filter(|key| self.items.contains_key(**key)).count() as i64),
            "UNLINK" => {
                Value::Int(args.iter().filter(|key| self.items.remove(**key).is_some()).count() as i64)
            }
            "SCAN" => self.scan(args),
            "HMGET" => {
                let hash = self.hash(args[0]);
                Value::Array(args[1..].iter().map(|field| bulk(hash.get(*field).cloned())).collect())
            }
            "HLEN" => Value::Int(self.hash(args[0]).len() as i64),
            "HEXISTS" => Value::Int(i64::from(self.hash(args[0]).contains_key(args[1]))),
            "HGET" => bulk(self.hash(args[0]).get(args[1]).cloned()),
            "HGETALL" => self.fields(args[0]),
            // All of it in one step.
            "HSCAN" => Value::Array(vec![bulk(Some(b"0".to_vec())), self.fields(args[0])]),
            "HSET" => self.set_fields(args[0], &args[1..]),
            "HDEL" => Value::Int(i64::from(self.hash(args[0]).remove(args[1]).is_some())),
            "XADD" => self.log(args),
            "XRANGE" => self.logged(args[0], args[1], args[2], args.get(4)),
            "XREVRANGE" => self.last_logged(args[0]),
            "XLEN" => Value::Int(self.entries(args[0]).map_or(0, |entries| entries.len() as i64)),
            "XINFO" => self.last_id(args[1]),
            "XDEL" => self.strike(args[0], &args[1..]),
            "SPUBLISH" => {
                published.push((args[0].to_vec(), args[1].to_vec()));
                Value::Int(0)
            }
            "TIME" => Value::Array(vec![
                bulk(Some((now_ms / 1_000).to_string().into_bytes())),
                bulk(Some((now_ms % 1_000 * 1_000).to_string().into_bytes())),
            ]),
            "INFO" => bulk(Some(format!("role:master\r\nmaster_replid:{}\r\n", self.history).into_bytes())),
            other => refusal(&format!("ERR the simulation does not know '{other}'")),
        }
    }

    fn forget_what_expired(&mut self, now_ms: u64) {
        if now_ms < self.soonest_ms {
            return;
        }
        self.items.retain(|_, (_, until)| until.is_none_or(|until| now_ms < until));
        self.soonest_ms = self.items.values().filter_map(|(_, until)| *until).min().unwrap_or(u64::MAX);
    }

    fn text(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Value> {
        match self.items.get(key) {
            None => Ok(None),
            Some((Item::Text(text), _)) => Ok(Some(text.clone())),
            Some(_) => Err(refusal("WRONGTYPE another type")),
        }
    }

    fn set(&mut self, now_ms: u64, args: &[&[u8]]) -> Value {
        let option = |name: &str| args[2..].iter().position(|arg| arg.eq_ignore_ascii_case(name.as_bytes()));
        let old = match self.text(args[0]) {
            Ok(old) => old,
            Err(refusal) => return refusal,
        };
        let stays = option("NX").is_some() && old.is_some();
        if !stays {
            let kept = option("KEEPTTL").and_then(|_| self.items.get(args[0])?.1);
            let until = option("PX").map(|at| now_ms + number(args[at + 3])).or(kept);
            self.items.insert(args[0].to_vec(), (Item::Text(args[1].to_vec()), until));
            self.soonest_ms = self.soonest_ms.min(until.unwrap_or(u64::MAX));
        }
        match (option("GET"), stays) {
            (Some(_), _) => bulk(old),
            (None, true) => Value::Nil,
            (None, false) => Value::Okay,
        }
    }

    /// `SCAN cursor MATCH pattern COUNT n`, one place a step, however many are asked for. What is there from the first step to
    /// the last is found, and more than once, as on a server whose table grows; what comes or goes meanwhile may be. To another
    /// server the cursor says nothing: there, keys have other places.
    fn scan(&self, args: &[&[u8]]) -> Value {
        let (at, pattern) = (number(args[0]), args[2]);
        let salt = xxh3_64(self.history.as_bytes());
        let is_near =
            |key: &[u8]| (at.saturating_sub(1)..=at).contains(&(xxh3_64_with_seed(key, salt) % PLACES));
        let found = self.items.keys().filter(|key| is_near(key) && matches(pattern, key));
        let next = if at + 1 < PLACES { at + 1 } else { 0 };
        let found = found.map(|key| bulk(Some(key.clone()))).collect();
        Value::Array(vec![bulk(Some(next.to_string().into_bytes())), Value::Array(found)])
    }

    fn increment(&mut self, key: &[u8]) -> Value {
        let next = self.text(key).ok().flatten().map_or(0, |text| number(&text)) + 1;
        let until = self.items.get(key).and_then(|(_, until)| *until);
        self.items.insert(key.to_vec(), (Item::Text(next.to_string().into_bytes()), until));
        Value::Int(next as i64)
    }

    fn range(&self, args: &[&[u8]]) -> Value {
        match self.text(args[0]) {
            Err(refusal) => refusal,
            Ok(text) => {
                let text = text.unwrap_or_default();
                // Negative places count from the end.
                let place = |arg: &[u8]| match arg.strip_prefix(b"-") {
                    Some(back) => text.len() as i64 - number(back) as i64,
                    None => number(arg) as i64,
                };
                let end = text.len().min((place(args[2]) + 1).max(0) as usize);
                bulk(Some(text.get(place(args[1]).max(0) as usize..end).unwrap_or_default().to_vec()))
            }
        }
    }

    fn overwrite(&mut self, args: &[&[u8]]) -> Value {
        let Some((Item::Text(text), _)) = self.items.get_mut(args[0]) else {
            return refusal("ERR the simulation overwrites only what is there");
        };
        let at = number(args[1]) as usize;
        text.resize(text.len().max(at + args[2].len()), 0);
        text[at..at + args[2].len()].copy_from_slice(args[2]);
        Value::Int(text.len() as i64)
    }

    fn expire(&mut self, now_ms: u64, args: &[&[u8]]) -> Value {
        let wanted = now_ms + number(args[1]);
        let only_later = args.get(2).is_some_and(|option| *option == b"GT");
        let only_earlier = args.get(2).is_some_and(|option| *option == b"LT");
        let Some((_, until)) = self.items.get_mut(args[0]) else { return Value::Int(0) };
        let is_later = until.is_some_and(|until| wanted > until);
        if (only_later && !is_later) || (only_earlier && is_later) {
            return Value::Int(0);
        }
        *until = Some(wanted);
        self.soonest_ms = self.soonest_ms.min(wanted);
        Value::Int(1)
    }

    /// Makes the hash, as a write would; an empty one is as good as none.
    fn hash(&mut self, key: &[u8]) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        let (item, _) = self.items.entry(key.to_vec()).or_insert_with(|| (Item::Hash(BTreeMap::new()), None));
        match item {
            Item::Hash(fields) => fields,
            Item::Text(_) | Item::Log(_) => panic!("a key of another type"),
        }
    }

    fn set_fields(&mut self, key: &[u8], names_and_values: &[&[u8]]) -> Value {
        let hash = self.hash(key);
        let fields = names_and_values.chunks(2);
        let new = fields.filter(|it| hash.insert(it[0].to_vec(), it[1].to_vec()).is_none());
        Value::Int(new.count() as i64)
    }

    /// Names and values in turn.
    fn fields(&mut self, key: &[u8]) -> Value {
        let fields = self.hash(key).iter();
        Value::Array(
            fields.flat_map(|(name, value)| [name, value].map(|it| bulk(Some(it.clone())))).collect(),
        )
    }

    /// `XADD key [MAXLEN ~ n] id field value …`
    fn log(&mut self, args: &[&[u8]]) -> Value {
        let is_bounded = args[1] == b"MAXLEN";
        let at = if is_bounded { 4 } else { 1 };
        let number = number_of_id(args[at]).expect("an id has a number");
        let (item, _) =
            self.items.entry(args[0].to_vec()).or_insert_with(|| (Item::Log(Log::default()), None));
        let Item::Log(log) = item else { return refusal("WRONGTYPE another type") };
        if log.last >= number {
            return refusal(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            );
        }
        log.last = number;
        log.entries.insert(number, args[at + 1..].iter().map(|it| it.to_vec()).collect());
        while is_bounded && log.entries.len() > LOGGED {
            log.entries.pop_first();
        }
        bulk(Some(args[at].to_vec()))
    }

    /// `XINFO STREAM key`, of which only this is asked for.
    fn last_id(&self, key: &[u8]) -> Value {
        match self.items.get(key) {
            Some((Item::Log(log), _)) => Value::Array(vec![
                bulk(Some(b"last-generated-id".to_vec())),
                bulk(Some(format!("{}-0", log.last).into_bytes())),
            ]),
            _ => refusal("ERR no such key"),
        }
    }

    /// `XDEL key id …`
    fn strike(&mut self, key: &[u8], ids: &[&[u8]]) -> Value {
        match self.items.get_mut(key) {
            Some((Item::Log(log), _)) => {
                let ids = ids.iter().filter_map(|id| number_of_id(id));
                Value::Int(ids.filter(|id| log.entries.remove(id).is_some()).count() as i64)
            }
            _ => Value::Int(0),
        }
    }

    fn entries(&self, key: &[u8]) -> Option<&BTreeMap<u64, Vec<Vec<u8>>>> {
        match self.items.get(key) {
            Some((Item::Log(log), _)) => Some(&log.entries),
            _ => None,
        }
    }

    /// `XRANGE key first last [COUNT n]`
    fn logged(&self, key: &[u8], first: &[u8], last: &[u8], count: Option<&&[u8]>) -> Value {
        let Some(entries) = self.entries(key) else { return Value::Array(Vec::new()) };
        let range = number_of_id(first).unwrap_or(0)..=number_of_id(last).unwrap_or(u64::MAX);
        let most = count.map_or(usize::MAX, |count| number(count) as usize);
        Value::Array(entries.range(range).take(most).map(entry).collect())
    }

    /// `XREVRANGE key + - COUNT 1`
    fn last_logged(&self, key: &[u8]) -> Value {
        let last = self.entries(key).and_then(|entries| entries.last_key_value());
        Value::Array(last.map(entry).into_iter().collect())
    }
}

fn entry((number, fields): (&u64, &Vec<Vec<u8>>)) -> Value {
    let id = bulk(Some(format!("{number}-0").into_bytes()));
    Value::Array(vec![id, Value::Array(fields.iter().map(|field| bulk(Some(field.clone()))).collect())])
}

/// Of `7-0`; none of `-` and `+`.
fn number_of_id(id: &[u8]) -> Option<u64> {
    std::str::from_utf8(id).ok()?.split('-').next()?.parse().ok()
}

fn bulk(bytes: Option<Vec<u8>>) -> Value {
    bytes.map_or(Value::Nil, Value::BulkString)
}

fn number(text: &[u8]) -> u64 {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("not a number: {:?}", String::from_utf8_lossy(text)))
}

/// An error reply.
pub(super) fn refusal(text: &str) -> Value {
    parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error reply is read")
}
