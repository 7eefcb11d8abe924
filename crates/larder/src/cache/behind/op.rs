//! Operations as bytes, and which of them need not be carried out: values and decisions, no I/O.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{Error, ErrorKind, Result, cache::coherence::Position};

/// Where an operation was acknowledged if it does not say: in no epoch.
pub(crate) const NOWHERE: Position = Position { epoch: 0, seq: 0 };

/// One acknowledged write, as it stands in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// Grows with every operation of the shard.
    pub(crate) version: u64,
    /// The number of its shard's sequence under which it was acknowledged: a purge with a higher one came when it was pending. In
    /// another epoch Redis may have lost what came after it.
    pub(crate) acked: Position,
    /// The key's text form.
    pub(crate) key: String,
    /// What was put into the key's slot.
    pub(crate) slot: Bytes,
}

impl Op {
    /// The id in the stream of an operation with this version.
    pub(crate) fn id(version: u64) -> Vec<u8> {
        format!("{version}-0").into()
    }
}

/// What remains to be done for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// The key's last operation.
    pub(crate) last: Op,
    /// The versions of all its operations: done when the last one is.
    pub(crate) versions: Vec<u64>,
}

/// One piece of work for each key, in the order of their last operations. An operation replaces all of the key, whether it
/// puts or removes, so the last one is as good as all of them.
pub(crate) fn coalesce(ops: impl IntoIterator<Item = Op>) -> Vec<Work> {
    let mut by_key: HashMap<String, Work> = HashMap::new();
    for op in ops {
        match by_key.get_mut(&op.key) {
            Some(work) => {
                work.versions.push(op.version);
                if op.version > work.last.version {
                    work.last = op;
                }
            }
            None => {
                by_key.insert(op.key.clone(), Work { versions: vec![op.version], last: op });
            }
        }
    }
    let mut works: Vec<Work> = by_key.into_values().collect();
    works.sort_unstable_by_key(|work| work.last.version);
    works
}

/// An operation that the sink would not take, as it stands among the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) version: u64,
    pub(crate) died_unix_ms: u64,
    pub(crate) attempts: u32,
    pub(crate) error: String,
    pub(crate) slot: Bytes,
}

impl Letter {
    /// `version 8 | died_unix_ms 8 | attempts 4 | length of the error 4 | error | slot`, little-endian.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.error.len() + self.slot.len());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.died_unix_ms.to_le_bytes());
        bytes.extend_from_slice(&self.attempts.to_le_bytes());
        bytes.extend_from_slice(&(self.error.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.error.as_bytes());
        bytes.extend_from_slice(&self.slot);
        bytes
    }

    /// Reads one letter.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` for bytes that are none.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "a dead letter is damaged");
        let (version, rest) = bytes.split_first_chunk().ok_or_else(corrupt)?;
        let (died_unix_ms, rest) = rest.split_first_chunk().ok_or_else(corrupt)?;
        let (attempts, rest) = rest.split_first_chunk().ok_or_else(corrupt)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(corrupt)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (error, slot) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        Ok(Self {
            version: u64::from_le_bytes(*version),
            died_unix_ms: u64::from_le_bytes(*died_unix_ms),
            attempts: u32::from_le_bytes(*attempts),
            error: String::from_utf8(error.to_vec()).map_err(|_| corrupt())?,
            slot: bytes.slice_ref(slot),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Operations on few keys, with growing versions.
    fn ops() -> impl Strategy<Value = Vec<Op>> {
        proptest::collection::vec((0_u8..6, any::<u8>()), 0..60).prop_map(|writes| {
            let op = |(version, (key, byte)): (usize, (u8, u8))| Op {
                version: version as u64,
                acked: NOWHERE,
                key: key.to_string(),
                slot: Bytes::from(vec![byte]),
            };
            writes.into_iter().enumerate().map(op).collect()
        })
    }

    /// An acknowledged write may lie among the dead letters for months.
    #[test]
    fn the_layout_of_a_letter_does_not_change() {
        let letter = Letter {
            version: 1,
            died_unix_ms: 0x0102_0304_0506,
            attempts: 5,
            error: "no".to_owned(),
            slot: Bytes::from_static(b"slot"),
        };
        let bytes = b"\x01\0\0\0\0\0\0\0\x06\x05\x04\x03\x02\x01\0\0\x05\0\0\0\x02\0\0\0noslot";
        assert_eq!(letter.encode(), bytes);
        assert_eq!(Letter::decode(&Bytes::from_static(bytes)).unwrap(), letter);
    }

    fn carried_out<'a>(ops: impl Iterator<Item = &'a Op>) -> HashMap<&'a str, &'a Bytes> {
        ops.map(|op| (&*op.key, &op.slot)).collect()
    }

    proptest! {
        #[test]
        fn coalesced_work_leaves_what_all_operations_would_have_left(ops in ops()) {
            let works = coalesce(ops.clone());
            prop_assert_eq!(carried_out(works.iter().map(|work| &work.last)), carried_out(ops.iter()));
        }

        #[test]
        fn every_operation_is_struck_off_once(ops in ops()) {
            let mut struck: Vec<u64> = coalesce(ops.clone()).into_iter().flat_map(|work| work.versions).collect();
            struck.sort_unstable();
            prop_assert_eq!(struck, ops.iter().map(|op| op.version).collect::<Vec<_>>());
        }

        #[test]
        fn the_order_in_which_a_batch_is_delivered_does_not_matter(ops in ops(), seed: u64) {
            let mut mixed = ops.clone();
            mixed.sort_by_key(|op| op.version.wrapping_mul(seed | 1).rotate_left(17));
            let last = |ops| coalesce(ops).into_iter().map(|work| work.last).collect::<Vec<_>>();
            prop_assert_eq!(last(mixed), last(ops));
        }

        #[test]
        fn a_letter_is_read_back(version: u64, died_unix_ms: u64, attempts: u32, error: String, slot: Vec<u8>) {
            let letter = Letter { version, died_unix_ms, attempts, error, slot: slot.into() };
            prop_assert_eq!(Letter::decode(&letter.encode().into()).unwrap(), letter);
        }

        #[test]
        fn other_bytes_are_refused_and_never_a_panic(bytes: Vec<u8>) {
            let _ = Letter::decode(&bytes.into());
        }
    }
}
