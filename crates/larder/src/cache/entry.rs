//! What stands in Redis under an entry's key, and what its age allows: bytes and decisions, no I/O.
//!
//! The slot of a key is empty, holds a *lease* (somebody is loading), or holds a *value* (present or known absent).
//! One `SET … NX GET` therefore answers a hit, or takes the lease, or shows who has it, in a single round trip.
//!
//! ```text
//! lease:  'L' 0x01 | token 16
//! blocked: 'L' 0x04 | token of each writer 16
//! value:  'L' kind flags codec | created_unix_ms 8 | fresh_ms 4 | stale_ms 4 | error_ms 4 | checksum 4
//!         | epoch 8 | seq 8 | tag count 1 | hash 8 and token 8 of each tag | load_us 4, if the flags say so | payload
//! ```
//! Integers are little-endian. The checksum is the low half of an xxh3-64: of what stands before it, and of the xxh3-64 of
//! what stands after it. So a foreign or damaged value is noticed before its payload reaches a codec.

use bytes::Bytes;
use rand::Rng;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Error, ErrorKind, Result,
    cache::{
        coherence::Position,
        tag::{NO_TOKEN, Tag},
    },
    dice::dice,
};

const MAGIC: u8 = b'L';
const KIND_LEASE: u8 = 1;
const KIND_PRESENT: u8 = 2;
const KIND_ABSENT: u8 = 3;
const KIND_TOMBSTONE: u8 = 4;
const FLAG_LZ4: u8 = 1;
/// Set only where a cache refreshes ahead, so that nodes of before this field read what all other caches write.
const FLAG_LOAD_TIME: u8 = 2;
/// Set where there are tags. Without it the tags are of an earlier version, which had no tokens: such a value counts as purged.
const FLAG_TOKENS: u8 = 4;
const LEASE_BYTES: usize = 18;
const CHECKSUM_AT: usize = 24;
const FIXED_BYTES: usize = 28;
/// Epoch, number and tag count.
const BELONGS_BYTES: usize = 17;
const LOAD_TIME_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
/// Of a value without tokens.
const BARE_TAG_BYTES: usize = 8;

/// The most tags one entry may have.
pub(crate) const MAX_TAGS: usize = 64;

/// Bytes that the header of a value without tags takes in Redis.
pub(crate) const HEADER_BYTES: usize = 45;

/// The right to fill one key, as it stands in its slot while the holder loads. Random, so that no two holders share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease([u8; LEASE_BYTES]);

impl Lease {
    pub(crate) fn random() -> Self {
        let mut bytes = [0; LEASE_BYTES];
        dice().fill(&mut bytes[2..]);
        bytes[0] = MAGIC;
        bytes[1] = KIND_LEASE;
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The number of a value that is still to be written behind: later than every invalidation, since it is newer than anything
/// that the source has. The scripts know it as the bytes 36 to 43.
pub(crate) const PENDING: u64 = u64::MAX;

/// What stands in a slot that must not be filled: somebody is about to write what it caches.
pub(crate) const TOMBSTONE: [u8; 2] = [MAGIC, KIND_TOMBSTONE];

/// How long an entry is good for what, counted from its creation, in milliseconds; and what it took to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// Until the soft expiry.
    pub(crate) fresh_ms: u32,
    /// Past the soft expiry: may be served while it is refreshed.
    pub(crate) stale_ms: u32,
    /// Past the soft expiry: may be served when the source fails.
    pub(crate) error_ms: u32,
    /// How long its load took, in microseconds: decides how early it is refreshed ahead. Zero: not known.
    pub(crate) load_us: u32,
}

/// What an entry's age allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and refresh it behind.
    Stale,
    /// Serve it only if the source fails.
    Fallback,
    /// Forget it.
    Expired,
}

impl Lifetime {
    /// The hard expiry.
    pub(crate) fn keep_ms(&self) -> u64 {
        u64::from(self.fresh_ms) + u64::from(self.stale_ms.max(self.error_ms))
    }

    /// This life, cut short at an age: never fresh again, whatever clock the age is told by, and good as something stale for
    /// as long as it would have been past its expiry.
    pub(crate) fn expired_at(&self, age_ms: u64) -> Self {
        let lived_ms = age_ms.min(u64::from(self.fresh_ms)) as u32;
        let until_ms = |window_ms: u32| if window_ms == 0 { 0 } else { window_ms.saturating_add(lived_ms) };
        Self { fresh_ms: 0, stale_ms: until_ms(self.stale_ms), error_ms: until_ms(self.error_ms), ..*self }
    }

    pub(crate) fn at_age(&self, age_ms: u64) -> Freshness {
        let fresh_ms = u64::from(self.fresh_ms);
        if age_ms < fresh_ms {
            Freshness::Fresh
        } else if age_ms < fresh_ms + u64::from(self.stale_ms) {
            Freshness::Stale
        } else if age_ms < fresh_ms + u64::from(self.error_ms) {
            Freshness::Fallback
        } else {
            Freshness::Expired
        }
    }
}

/// A value as it is stored, its payload still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// `None`: known to be absent.
    pub(crate) payload: Option<Bytes>,
    pub(crate) codec: u8,
    /// By the wall clock of the node that filled it; read through [`Envelope::age_ms`], which clamps.
    pub(crate) created_unix_ms: u64,
    pub(crate) life: Lifetime,
    /// Where its shard stood when its load began. The number is [`PENDING`] while the source does not have it yet.
    pub(crate) at: Position,
    /// Its tags, at most [`MAX_TAGS`], with the tokens that they had then.
    pub(crate) tags: Vec<Tag>,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Lease(Lease),
    Blocked,
    Value(Envelope),
}

impl Envelope {
    /// Age by our own clock, within 0 and the hard expiry: a skewed clock elsewhere can make an entry look younger or
    /// older, but Redis itself removes it at its hard expiry.
    ///
    /// A value that is still to be written behind does not age: there is nothing newer to load.
    pub(crate) fn age_ms(&self, now_unix_ms: u64) -> u64 {
        if self.is_pending() {
            return 0;
        }
        now_unix_ms.saturating_sub(self.created_unix_ms).min(self.life.keep_ms())
    }

    /// Whether the source does not have it yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.at.seq == PENDING
    }

    /// The first [`HEADER_BYTES`] of [`encode`](Self::encode): with its checksum, a name for the whole.
    pub(crate) fn header(&self, compress_above: Option<usize>) -> Vec<u8> {
        let mut bytes = self.encode(compress_above);
        bytes.truncate(HEADER_BYTES);
        bytes
    }

    /// The bytes for Redis; the payload is compressed from `compress_above` bytes on, if that makes it smaller.
    pub(crate) fn encode(&self, compress_above: Option<usize>) -> Vec<u8> {
        let raw = self.payload.as_deref().unwrap_or_default();
        let packed = compress_above
            .filter(|&limit| raw.len() >= limit)
            .map(|_| lz4_flex::compress_prepend_size(raw))
            .filter(|packed| packed.len() < raw.len());
        let (mut flags, payload) = match &packed {
            Some(packed) => (FLAG_LZ4, packed.as_slice()),
            None => (0, raw),
        };
        let kind = if self.payload.is_some() { KIND_PRESENT } else { KIND_ABSENT };
        let room =
            FIXED_BYTES + BELONGS_BYTES + self.tags.len() * TAG_BYTES + LOAD_TIME_BYTES + payload.len();
        let mut bytes = Vec::with_capacity(room);
        if self.life.load_us > 0 {
            flags |= FLAG_LOAD_TIME;
        }
        if !self.tags.is_empty() {
            flags |= FLAG_TOKENS;
        }
        bytes.extend_from_slice(&[MAGIC, kind, flags, self.codec]);
        bytes.extend_from_slice(&self.created_unix_ms.to_le_bytes());
        bytes.extend_from_slice(&self.life.fresh_ms.to_le_bytes());
        bytes.extend_from_slice(&self.life.stale_ms.to_le_bytes());
        bytes.extend_from_slice(&self.life.error_ms.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.at.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.at.seq.to_le_bytes());
        bytes.push(self.tags.len() as u8);
        for tag in &self.tags {
            bytes.extend_from_slice(&tag.hash.to_le_bytes());
            bytes.extend_from_slice(&tag.token.to_le_bytes());
        }
        if self.life.load_us > 0 {
            bytes.extend_from_slice(&self.life.load_us.to_le_bytes());
        }
        bytes.extend_from_slice(payload);
        let checksum = checksum(&bytes[..CHECKSUM_AT], &bytes[FIXED_BYTES..]);
        bytes[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

impl Slot {
    /// Reads what stands in a slot. `max_bytes` bounds what a compressed payload may unpack to, checked before any
    /// memory is taken for it.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` for bytes that are not ours, damaged, or over the limit.
    pub(crate) fn decode(bytes: &Bytes, max_bytes: usize) -> Result<Self> {
        match bytes.get(..2) {
            Some([MAGIC, KIND_LEASE]) => {
                let token = bytes[..].try_into().map_err(|_| corrupt("a lease of the wrong length"))?;
                Ok(Self::Lease(Lease(token)))
            }
            Some([MAGIC, KIND_TOMBSTONE]) => Ok(Self::Blocked),
            Some([MAGIC, KIND_PRESENT | KIND_ABSENT]) => decode_value(bytes, max_bytes).map(Self::Value),
            _ => Err(corrupt("a value that Larder did not write")),
        }
    }
}

/// As many of the first bytes of a slot as tell the tags of its value.
pub(crate) const TAGS_END: usize = HEADER_BYTES + MAX_TAGS * TAG_BYTES;

/// The tags of the value that begins like this; none for whatever else stands in a slot. The checksum, which covers the whole, is
/// not looked at.
pub(crate) fn tags_of(begins: &[u8]) -> Vec<Tag> {
    match begins {
        [MAGIC, KIND_PRESENT | KIND_ABSENT, ..] => {
            split_tags(begins).map(|(_, tags, _)| tags).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The header of a value, its tags, and what comes behind them; `None` if it is too short for that.
fn split_tags(value: &[u8]) -> Option<(&[u8], Vec<Tag>, &[u8])> {
    let (header, rest) = value.split_at_checked(HEADER_BYTES)?;
    let each = if header[2] & FLAG_TOKENS == 0 { BARE_TAG_BYTES } else { TAG_BYTES };
    let (tags, rest) = rest.split_at_checked(usize::from(header[HEADER_BYTES - 1]) * each)?;
    Some((header, tags.chunks_exact(each).map(tag_in).collect(), rest))
}

fn tag_in(bytes: &[u8]) -> Tag {
    let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    Tag { hash: words.next().unwrap_or_default(), token: words.next().unwrap_or(NO_TOKEN) }
}

/// What makes the value in a slot stale where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// How the value begins now; with its checksum, a name for the whole. Empty: there is no value that could be kept.
    pub(crate) begins: Vec<u8>,
    /// How it is to begin.
    pub(crate) header: Vec<u8>,
    /// For how long it may be served from now on.
    pub(crate) keep_ms: u64,
    /// Whether an entry stands there, and one that was not made stale before: only such a one counts.
    pub(crate) is_first: bool,
}

impl Expired {
    /// For these bytes of a slot. What is absent, pending, foreign or has no time past its expiry is not kept.
    pub(crate) fn of(slot: &Bytes, max_bytes: usize, now_unix_ms: u64) -> Self {
        let Ok(Slot::Value(envelope)) = Slot::decode(slot, max_bytes) else { return Self::default() };
        let age_ms = envelope.age_ms(now_unix_ms);
        let life = envelope.life.expired_at(age_ms);
        let keep_ms = life.keep_ms().saturating_sub(age_ms);
        if envelope.is_pending() {
            return Self::default();
        }
        if envelope.payload.is_none() || keep_ms == 0 {
            return Self { is_first: true, ..Self::default() };
        }
        let mut header = slot[..FIXED_BYTES].to_vec();
        header[12..16].copy_from_slice(&life.fresh_ms.to_le_bytes());
        header[16..20].copy_from_slice(&life.stale_ms.to_le_bytes());
        header[20..24].copy_from_slice(&life.error_ms.to_le_bytes());
        let checksum = checksum(&header[..CHECKSUM_AT], &slot[FIXED_BYTES..]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        Self { begins: slot[..FIXED_BYTES].to_vec(), header, keep_ms, is_first: life != envelope.life }
    }
}

/// The header that turns the pending value `slot` into an ordinary one of this age and position; `None` for other bytes.
pub(crate) fn settled_header(slot: &[u8], created_unix_ms: u64, at: Position) -> Option<Vec<u8>> {
    if slot.len() < HEADER_BYTES {
        return None;
    }
    let mut slot = slot.to_vec();
    slot[4..12].copy_from_slice(&created_unix_ms.to_le_bytes());
    slot[28..36].copy_from_slice(&at.epoch.to_le_bytes());
    slot[36..44].copy_from_slice(&at.seq.to_le_bytes());
    let checksum = checksum(&slot[..CHECKSUM_AT], &slot[FIXED_BYTES..]);
    slot[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&checksum.to_le_bytes());
    slot.truncate(HEADER_BYTES);
    Some(slot)
}

fn decode_value(bytes: &Bytes, max_bytes: usize) -> Result<Envelope> {
    let short = || corrupt("a value shorter than its header");
    let (header, tags, payload) = split_tags(bytes).ok_or_else(short)?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes of a header"));
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes of a header"));
    if word(CHECKSUM_AT) != checksum(&bytes[..CHECKSUM_AT], &bytes[FIXED_BYTES..]) {
        return Err(corrupt("a value whose checksum does not match"));
    }
    let (load_us, payload) = match header[2] & FLAG_LOAD_TIME {
        0 => (0, payload),
        _ => payload
            .split_first_chunk()
            .map(|(load_us, payload)| (u32::from_le_bytes(*load_us), payload))
            .ok_or_else(short)?,
    };
    let payload = match (header[1], header[2] & !(FLAG_LOAD_TIME | FLAG_TOKENS)) {
        (KIND_ABSENT, 0) if payload.is_empty() => None,
        (KIND_PRESENT, 0) => Some(bytes.slice(bytes.len() - payload.len()..)),
        (KIND_PRESENT, FLAG_LZ4) => Some(unpack(payload, max_bytes)?),
        _ => return Err(corrupt("a value with unknown flags")),
    };
    Ok(Envelope {
        payload,
        codec: header[3],
        created_unix_ms: long(4),
        life: Lifetime { fresh_ms: word(12), stale_ms: word(16), error_ms: word(20), load_us },
        at: Position { epoch: long(28), seq: long(36) },
        tags,
    })
}

fn unpack(packed: &[u8], max_bytes: usize) -> Result<Bytes> {
    let (size, block) = lz4_flex::block::uncompressed_size(packed)
        .map_err(|_| corrupt("a compressed value without its size"))?;
    if size > max_bytes {
        return Err(corrupt("a compressed value larger than the limit"));
    }
    lz4_flex::decompress(block, size)
        .map(Bytes::from)
        .map_err(|_| corrupt("a compressed value that does not unpack"))
}

/// Two plain hashes: feeding one with parts costs more for a value of a kilobyte.
fn checksum(before: &[u8], after: &[u8]) -> u32 {
    let mut whole = [0; CHECKSUM_AT + 8];
    whole[..before.len()].copy_from_slice(before);
    whole[CHECKSUM_AT..].copy_from_slice(&xxh3_64(after).to_le_bytes());
    xxh3_64(&whole) as u32
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX_BYTES: usize = 1 << 20;

    fn envelope() -> impl Strategy<Value = Envelope> {
        let payload = proptest::option::of(proptest::collection::vec(0_u8..4, 0..2_000));
        let belongs = (any::<[u64; 2]>(), proptest::collection::vec(any::<(u64, u64)>(), 0..=MAX_TAGS));
        (payload, any::<u8>(), any::<u64>(), any::<[u32; 4]>(), belongs).prop_map(
            |(
                payload,
                codec,
                created_unix_ms,
                [fresh_ms, stale_ms, error_ms, load_us],
                ([epoch, seq], tags),
            )| {
                Envelope {
                    payload: payload.map(Bytes::from),
                    codec,
                    created_unix_ms,
                    // Half of the caches do not measure it.
                    life: Lifetime { fresh_ms, stale_ms, error_ms, load_us: load_us.saturating_sub(1 << 31) },
                    at: Position { epoch, seq },
                    tags: tags.into_iter().map(|(hash, token)| Tag { hash, token }).collect(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(envelope in envelope(), compress_above in proptest::option::of(0_usize..2_000)) {
            let bytes = Bytes::from(envelope.encode(compress_above));
            prop_assert_eq!(&tags_of(&bytes[..bytes.len().min(TAGS_END)]), &envelope.tags);
            prop_assert_eq!(Slot::decode(&bytes, MAX_BYTES).unwrap(), Slot::Value(envelope));
        }

        #[test]
        fn a_settled_value_differs_in_age_and_position_only(
            envelope in envelope(),
            compress_above in proptest::option::of(0_usize..2_000),
            created_unix_ms: u64,
            (epoch, seq) in any::<(u64, u64)>(),
        ) {
            let at = Position { epoch, seq };
            let pending = Envelope { at: Position { epoch: 7, seq: PENDING }, ..envelope.clone() };
            let mut bytes = pending.encode(compress_above);
            prop_assert_eq!(&bytes[36..44], &[0xff; 8]);
            prop_assert_eq!(pending.age_ms(u64::MAX), 0);
            let header = settled_header(&bytes, created_unix_ms, at).unwrap();
            bytes[..HEADER_BYTES].copy_from_slice(&header);
            let settled = Envelope { created_unix_ms, at, ..envelope };
            prop_assert_eq!(Slot::decode(&bytes.into(), MAX_BYTES).unwrap(), Slot::Value(settled));
        }

        #[test]
        fn an_expired_value_differs_in_its_times_only_and_is_never_fresh_to_any_clock(
            envelope in envelope(), life: [u16; 3], now: u64, other: u64,
        ) {
            let [fresh_ms, stale_ms, error_ms] = life.map(u32::from);
            let envelope = Envelope { life: Lifetime { fresh_ms, stale_ms, error_ms, ..envelope.life }, ..envelope };
            let mut bytes = envelope.encode(Some(100));
            let expired = Expired::of(&bytes.clone().into(), MAX_BYTES, now);
            let window = u64::from(stale_ms.max(error_ms));
            let is_kept = envelope.payload.is_some() && !envelope.is_pending() && expired.keep_ms > 0;
            prop_assert_eq!(is_kept, !expired.begins.is_empty());
            prop_assert!(expired.keep_ms <= window);
            if is_kept {
                prop_assert_eq!(&bytes[..FIXED_BYTES], &expired.begins[..]);
                bytes[..FIXED_BYTES].copy_from_slice(&expired.header);
                let Slot::Value(read) = Slot::decode(&bytes.into(), MAX_BYTES).unwrap() else { panic!("a value") };
                prop_assert_ne!(read.life.at_age(read.age_ms(other)), Freshness::Fresh);
                prop_assert_eq!(Envelope { life: envelope.life, ..read }, envelope);
            }
        }

        #[test]
        fn one_changed_byte_is_noticed(envelope in envelope(), at: prop::sample::Index, change in 1_u8..) {
            let mut bytes = envelope.encode(Some(100));
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let read = Slot::decode(&Bytes::from(bytes), MAX_BYTES);
            prop_assert_ne!(read.ok(), Some(Slot::Value(envelope)));
        }

        #[test]
        fn foreign_bytes_are_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Slot::decode(&Bytes::from(bytes.clone()), MAX_BYTES);
            // With our own first bytes, so that the rest of the reader is reached.
            for kind in [KIND_LEASE, KIND_PRESENT, KIND_ABSENT] {
                let ours = [&[MAGIC, kind], &bytes[..]].concat();
                let _ = (tags_of(&ours), Slot::decode(&Bytes::from(ours), MAX_BYTES));
            }
        }

        #[test]
        fn an_age_is_never_past_the_hard_expiry_whatever_the_clocks_say(envelope in envelope(), now: u64) {
            prop_assert!(envelope.age_ms(now) <= envelope.life.keep_ms());
        }

        #[test]
        fn freshness_only_gets_worse_with_age(life: [u16; 3], age: u32, older: u16) {
            let [fresh_ms, stale_ms, error_ms] = life.map(u32::from);
            let life = Lifetime { fresh_ms, stale_ms, error_ms, load_us: 0 };
            let rank = |age: u64| match life.at_age(age) {
                Freshness::Fresh => 0,
                Freshness::Stale => 1,
                Freshness::Fallback => 2,
                Freshness::Expired => 3,
            };
            let age = u64::from(age % 200_000);
            prop_assert!(rank(age) <= rank(age + u64::from(older)));
            prop_assert_eq!(life.at_age(life.keep_ms()), Freshness::Expired);
        }
    }

    #[test]
    fn a_lease_is_read_back() {
        let lease = Lease::random();
        let bytes = Bytes::copy_from_slice(lease.as_bytes());
        assert_eq!(Slot::decode(&bytes, MAX_BYTES).unwrap(), Slot::Lease(lease));
    }

    #[test]
    fn a_compressed_value_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
        let payload = Some(Bytes::from(vec![7; 4_000]));
        let life = Lifetime { fresh_ms: 1, stale_ms: 0, error_ms: 0, load_us: 0 };
        let envelope =
            Envelope { payload, codec: 1, created_unix_ms: 0, life, at: Position::default(), tags: vec![] };
        let bytes = Bytes::from(envelope.encode(Some(0)));
        assert!(Slot::decode(&bytes, 4_000).is_ok());
        assert_eq!(Slot::decode(&bytes, 3_999).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    /// Values that earlier versions wrote must stay readable, or at least be refused: a changed layout is a new version
    /// in the key.
    #[test]
    fn the_layout_of_a_value_does_not_change() {
        let life = Lifetime { fresh_ms: 60_000, stale_ms: 1_000, error_ms: 2_000, load_us: 0 };
        let payload = Some(Bytes::from_static(b"hello"));
        let envelope = Envelope {
            payload,
            codec: 1,
            created_unix_ms: 1_735_689_600_000,
            life,
            at: Position { epoch: 7, seq: 9 },
            tags: vec![Tag { hash: 3, token: 4 }],
        };
        assert_eq!(hex(&envelope), GOLDEN);
        let bytes = Bytes::from(envelope.encode(None));
        assert_eq!(Slot::decode(&bytes, MAX_BYTES).unwrap(), Slot::Value(envelope.clone()));
        let life = Lifetime { load_us: 258, ..life };
        assert_eq!(hex(&Envelope { life, ..envelope.clone() }), GOLDEN_WITH_LOAD_TIME);

        let earlier = Bytes::from(unhex(GOLDEN_WITHOUT_TOKENS));
        assert_eq!(tags_of(&earlier), [Tag { hash: 3, token: NO_TOKEN }]);
        let tags = tags_of(&earlier);
        assert_eq!(Slot::decode(&earlier, MAX_BYTES).unwrap(), Slot::Value(Envelope { tags, ..envelope }));
    }

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn hex(envelope: &Envelope) -> String {
        envelope.encode(None).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const GOLDEN: &str = "4c020401007c291f9401000060ea0000e8030000d0070000cd3f7b090700000000000000\
                          0900000000000000010300000000000000040000000000000068656c6c6f";
    const GOLDEN_WITHOUT_TOKENS: &str = "4c020001007c291f9401000060ea0000e8030000d0070000d27ca63c0700000000\
                                         000000090000000000000001030000000000000068656c6c6f";
    const GOLDEN_WITH_LOAD_TIME: &str = "4c020601007c291f9401000060ea0000e8030000d0070000914a2de30700000000000000\
                                         090000000000000001030000000000000004000000000000000201000068656c6c6f";
}
