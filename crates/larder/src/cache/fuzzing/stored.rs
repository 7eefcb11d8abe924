//! The bytes that the cache reads back from Redis.

use bytes::Bytes;

use crate::{
    ErrorKind,
    cache::{
        behind::Letter,
        coherence::Position,
        entry::{Envelope, HEADER_BYTES, Slot, TAGS_END, TOMBSTONE, settled_header, tags_of},
        event::{Change, Event, Message, decode_message, epoch_text},
        tag::{NO_TOKEN, Tag},
    },
};

const MAX_BYTES: usize = 1 << 20;

/// A slot that is read is written back as the same value, and no payload is larger than what was allowed.
pub fn entry(data: &[u8]) {
    slot(&Bytes::copy_from_slice(data));
    // The checksum keeps random bytes out of the reader's inner parts, so it is set right for the same bytes.
    if let Some(data) = with_its_checksum(data) {
        slot(&data.into());
    }
}

fn slot(bytes: &Bytes) {
    match Slot::decode(bytes, MAX_BYTES) {
        Ok(Slot::Value(envelope)) => {
            let payload_bytes = envelope.payload.as_ref().map_or(0, Bytes::len);
            assert!(payload_bytes <= MAX_BYTES.max(bytes.len()), "{payload_bytes} bytes were unpacked");
            for compress_above in [None, Some(0)] {
                let again = Bytes::from(Envelope::encode(&envelope, compress_above));
                assert_eq!(Slot::decode(&again, payload_bytes).ok(), Some(Slot::Value(envelope.clone())));
            }
            assert!(envelope.age_ms(u64::MAX) <= envelope.life.keep_ms());
            assert_eq!(tags_of(&bytes[..bytes.len().min(TAGS_END)]), envelope.tags);
        }
        Ok(Slot::Lease(lease)) => assert_eq!(lease.as_bytes(), bytes),
        Ok(Slot::Blocked) => assert!(bytes.starts_with(&TOMBSTONE)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
    }
}

fn with_its_checksum(data: &[u8]) -> Option<Vec<u8>> {
    let long = |at: usize| Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?));
    let at = Position { epoch: long(28)?, seq: long(36)? };
    let mut slot = settled_header(data, long(4)?, at)?;
    slot.extend_from_slice(&data[HEADER_BYTES..]);
    Some(slot)
}

/// An entry of the log is written back as the same bytes, but for the purge of a tag by an earlier version, which says no token; a
/// message, as the same point and event.
pub fn log_event(data: &[u8]) {
    if let Ok(event) = Event::decode(data) {
        let written = event.encode();
        let is_earlier = matches!(event.change, Change::Tag(Tag { token: NO_TOKEN, .. }));
        assert!(written == data || is_earlier && written.starts_with(data), "{data:?}");
    }
    if let Ok(Message::Event(at, event)) = decode_message(data) {
        let mut message = format!("{}:{}:", epoch_text(at.epoch), at.seq).into_bytes();
        message.extend(event.encode());
        assert_eq!(decode_message(&message).ok(), Some(Message::Event(at, event)));
    }
}

/// A dead letter is written back as the same bytes.
pub fn dead_letter(data: &[u8]) {
    if let Ok(letter) = Letter::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(letter.encode(), data);
    }
}
