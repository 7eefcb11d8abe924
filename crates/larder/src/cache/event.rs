//! What the log says: the bytes of one invalidation, and of the message that announces it.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        coherence::Position,
        tag::{NO_TOKEN, Tag},
    },
};

/// One invalidation in the log of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Who wrote it: a node has applied its own by the time it reads them.
    pub(crate) node: u64,
    pub(crate) change: Change,
}

/// What it invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Single keys, by their hashes.
    Keys(Vec<u64>),
    /// Everything with this tag, which has this token from here on.
    Tag(Tag),
    /// The whole shard.
    Clear,
    /// Single keys that were found by a pattern: near copies go by the shard.
    Flush,
}

const KEYS: u8 = b'K';
const TAG: u8 = b'T';
const CLEAR: u8 = b'C';
const FLUSH: u8 = b'F';

impl Event {
    /// `node 8 | kind 1 | hashes 8 each`, little-endian; behind the hash of a tag stands its token.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, hashes): (u8, &[u64]) = match &self.change {
            Change::Keys(hashes) => (KEYS, hashes),
            Change::Tag(tag) => (TAG, &[tag.hash, tag.token]),
            Change::Clear => (CLEAR, &[]),
            Change::Flush => (FLUSH, &[]),
        };
        let mut bytes = Vec::with_capacity(9 + hashes.len() * 8);
        bytes.extend_from_slice(&self.node.to_le_bytes());
        bytes.push(kind);
        for hash in hashes {
            bytes.extend_from_slice(&hash.to_le_bytes());
        }
        bytes
    }

    /// Reads one event.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` for bytes that are none; the follower then flushes the shard.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "an entry of the log is damaged");
        let (head, rest) = bytes.split_at_checked(9).ok_or_else(corrupt)?;
        let (node, kind) = head.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (words, odd) = rest.as_chunks::<8>();
        let hashes: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let change = match (kind, &*hashes, odd) {
            ([KEYS], _, []) => Change::Keys(hashes),
            ([TAG], [hash, token], []) => Change::Tag(Tag { hash: *hash, token: *token }),
            // Of a node from before there were tokens.
            ([TAG], [hash], []) => Change::Tag(Tag { hash: *hash, token: NO_TOKEN }),
            ([CLEAR], [], []) => Change::Clear,
            ([FLUSH], [], []) => Change::Flush,
            _ => return Err(corrupt()),
        };
        Ok(Self { node: u64::from_le_bytes(*node), change })
    }
}

/// What is said on the channel of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// An invalidation, and its place in the log.
    Event(Position, Event),
    /// A key that somebody waits for was filled, or its lease given back: the hash of its text.
    Filled(u64),
}

const FILLED: &[u8] = b"w:";

/// What the log and its channel call a key by: the hash of its text.
pub(crate) fn key_hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// What those are told who wait for a key: `w:` and the hash of its text, little-endian.
pub(crate) fn filled_message(key: &str) -> Vec<u8> {
    [FILLED, &key_hash(key).to_le_bytes()].concat()
}

/// Reads a message: `epoch 16 hex ':' seq decimal ':' event`, or what [`filled_message`] writes.
///
/// # Errors
/// `ErrorKind::Corrupt` for a message that is none.
pub(crate) fn decode_message(payload: &[u8]) -> Result<Message> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a message of the log is damaged");
    if let Some(hash) = payload.strip_prefix(FILLED) {
        let hash: [u8; 8] = hash.try_into().map_err(|_| corrupt())?;
        return Ok(Message::Filled(u64::from_le_bytes(hash)));
    }
    let mut parts = payload.splitn(3, |byte| *byte == b':');
    let (epoch, seq, event) = (parts.next(), parts.next(), parts.next());
    let (Some(epoch), Some(seq), Some(event)) = (epoch, seq, event) else { return Err(corrupt()) };
    let at = Position {
        epoch: epoch_of(epoch).ok_or_else(corrupt)?,
        seq: std::str::from_utf8(seq).ok().and_then(|seq| seq.parse().ok()).ok_or_else(corrupt)?,
    };
    Ok(Message::Event(at, Event::decode(event)?))
}

/// An epoch as it stands in Redis: 16 hexadecimal digits.
pub(crate) fn epoch_of(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok().filter(|epoch| *epoch != 0)
}

/// The text of an epoch.
pub(crate) fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            proptest::collection::vec(any::<u64>(), 0..20).prop_map(Change::Keys),
            any::<(u64, u64)>().prop_map(|(hash, token)| Change::Tag(Tag { hash, token })),
            Just(Change::Clear),
            Just(Change::Flush),
        ]
    }

    /// Nodes of before and after a deploy read each other's log.
    #[test]
    fn the_layout_of_events_does_not_change() {
        let node = [8, 7, 6, 5, 4, 3, 2, 1];
        for (change, rest) in [
            (Change::Keys(vec![2, 3]), &b"K\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"[..]),
            (Change::Tag(Tag { hash: 4, token: 5 }), b"T\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),
            (Change::Clear, b"C"),
            (Change::Flush, b"F"),
        ] {
            let event = Event { node: 0x0102_0304_0506_0708, change };
            let bytes = [&node, rest].concat();
            assert_eq!(event.encode(), bytes, "{event:?}");
            let message = [&b"00000000000000ff:12:"[..], &bytes].concat();
            let at = Position { epoch: 255, seq: 12 };
            assert_eq!(decode_message(&message).unwrap(), Message::Event(at, event));
        }
        let earlier = [&node, &b"T\x04\0\0\0\0\0\0\0"[..]].concat();
        let change = Change::Tag(Tag { hash: 4, token: NO_TOKEN });
        assert_eq!(Event::decode(&earlier).unwrap().change, change);
        let told = [&b"w:"[..], &key_hash("a").to_le_bytes()].concat();
        assert_eq!((filled_message("a"), key_hash("a")), (told, 0xe6c6_32b6_1e96_4e1f));
    }

    proptest! {
        #[test]
        fn events_are_read_back(node: u64, change in change(), seq: u64, epoch in 1_u64..) {
            let event = Event { node, change };
            prop_assert_eq!(&Event::decode(&event.encode()).unwrap(), &event);
            let mut message = format!("{}:{seq}:", epoch_text(epoch)).into_bytes();
            message.extend(event.encode());
            prop_assert_eq!(decode_message(&message).unwrap(), Message::Event(Position { epoch, seq }, event));
        }

        #[test]
        fn what_the_waiting_are_told_is_read_back(key in ".{1,40}") {
            prop_assert_eq!(decode_message(&filled_message(&key)).unwrap(), Message::Filled(key_hash(&key)));
        }

        #[test]
        fn damaged_events_are_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Event::decode(&bytes);
            let _ = decode_message(&bytes);
        }
    }
}
