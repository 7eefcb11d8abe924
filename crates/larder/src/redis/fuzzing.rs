//! What must hold of Redis URLs, of keys, and of what servers say about themselves.

use std::num::NonZeroU16;

use ::redis::{Parser, RedisError, Value, parse_redis_value};

use super::{
    cluster::map::{Redirect, read_slots},
    greet::is_replica,
    key::{Kind, MAX_KEY_BYTES, Space},
    probe::read_info,
    reply::Inbox,
    slot::{SLOTS, slot_of},
    url::{Address, Login, Target},
};

/// What a URL says does not depend on its password, and what it was understood as is a URL that says the same.
pub fn redis_url(data: &[u8]) {
    let Ok(url) = std::str::from_utf8(data) else { return };
    let read = Target::parse(url);
    if let Ok(target) = &read {
        let shown = Target::parse(&target.to_string());
        let expected = Target { login: Login::default(), ..target.clone() };
        assert_eq!(shown.ok(), Some(expected), "{target}");
    }
    if let Some(other) = with_another_password(url) {
        let shown = |read: &crate::Result<Target>| match read {
            Ok(target) => format!("{target} {target:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        let (shown, other) = (shown(&read), shown(&Target::parse(&other)));
        let about_the_password = shown.contains("percent-encoded") || shown.contains("no options after");
        assert!(shown == other || about_the_password, "{shown}\n{other}");
    }
}

fn with_another_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (credentials, rest) = rest.rsplit_once('@')?;
    let (user, _) = credentials.split_once(':')?;
    Some(format!("{scheme}://{user}:another@{rest}"))
}

/// All keys of one key lie in one slot, and the entry's key leads back to it.
pub fn redis_key(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'|');
    let (Some(app), Some(name), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (app, name) = (String::from_utf8_lossy(app), String::from_utf8_lossy(name));
    let shards = NonZeroU16::MIN.saturating_add(key.first().copied().unwrap_or_default().into());
    let Ok(space) = Space::new(&app, &name, shards, 1) else { return };
    let Ok(entry) = space.entry(key) else {
        assert!(key.is_empty() || key.len() > MAX_KEY_BYTES);
        return;
    };
    let control = space.control(key).expect("what is a key for an entry is one for its lease");
    assert_eq!(slot_of(&entry), slot_of(&control));
    assert_eq!(slot_of(&entry), slot_of(&space.of_shard(space.shard_of(key), "log")));
    assert_eq!(space.text_of_slot(&Kind::whole(), &entry).as_deref(), std::str::from_utf8(key).ok());
    assert_eq!(space.text_of_slot(&Kind::whole(), &control), None);
    // Whoever made this key, the answer is the end of it.
    assert!(space.text_of_slot(&Kind::whole(), key).is_none_or(|text| key.ends_with(text.as_bytes())));
}

/// Whatever a server answers when it is asked what it is and who owns which slots: ranges are ranges of slots, in order; a redirection
/// leads to an address that is read as the same one; and of a text no more is told than stands in it.
pub fn redis_reply(data: &[u8]) {
    if let Ok(info) = std::str::from_utf8(data) {
        let probe = read_info(info);
        for said in [probe.version, probe.max_memory_policy, probe.replication_id].iter().flatten() {
            assert!(info.contains(said.as_str()), "{said}");
        }
    }
    let Ok(reply) = parse_redis_value(data) else { return };
    let asked = Address { host: "asked".to_owned(), port: 1 };
    let ranges = read_slots(reply.clone(), &asked);
    assert!(ranges.iter().all(|range| range.first <= range.last && range.last < SLOTS));
    assert!(ranges.is_sorted_by_key(|range| range.first));
    if let Some(redirect) = Redirect::in_reply(&reply) {
        assert!(matches!(reply, Value::ServerError(_)));
        let word = if redirect.asking { "ASK" } else { "MOVED" };
        let again = format!("-{word} 1 {}:{}\r\n", redirect.to.host, redirect.to.port);
        let again = parse_redis_value(again.as_bytes()).expect("an error line");
        assert_eq!(Redirect::in_reply(&again), Some(redirect));
    }
    assert!(!is_replica(&reply) || matches!(reply, Value::Array(_)));
}

/// However the bytes of a connection are cut, the same replies are read from them, and they are those that the driver reads. The
/// first byte says into how long pieces they are cut.
pub fn redis_stream(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = read_stream(bytes, bytes.len().max(1));
    let in_pieces = read_stream(bytes, usize::from(*piece) + 1);
    // As text: not a number is like no other.
    assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));
    let (mut driver, mut rest) = (Parser::new(), bytes);
    for reply in whole.0 {
        let expected = driver.parse_value(&mut rest).expect("the driver reads it as well");
        assert_eq!(format!("{reply:?}"), format!("{expected:?}"));
    }
}

/// What comes out when these bytes come in pieces of this size, and what is wrong with those that follow.
pub(super) fn read_stream(bytes: &[u8], piece: usize) -> (Vec<Value>, Option<RedisError>) {
    let (mut inbox, mut replies) = (Inbox::default(), Vec::new());
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let room = inbox.room();
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            inbox.received(now.len());
            rest = later;
            loop {
                match inbox.next() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
    }
    (replies, None)
}
