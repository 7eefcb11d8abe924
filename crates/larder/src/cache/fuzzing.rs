//! The parsers that no caller can reach, for the fuzz targets. Compiled under `--cfg fuzzing` alone, so that nothing
//! here is part of the library.

use std::num::NonZeroU16;

use bytes::Bytes;

use super::entry::Slot;
use crate::redis::Space;

const MAX_BYTES: usize = 1 << 20;

/// Reads what could stand under an entry's key. What is understood is written and read again, and must be the same.
///
/// # Panics
/// If it is not.
pub fn read_slot(bytes: &[u8]) {
    let Ok(Slot::Value(value)) = Slot::decode(&Bytes::copy_from_slice(bytes), MAX_BYTES) else { return };
    for compress_above in [None, Some(0)] {
        let written = Bytes::from(value.encode(compress_above));
        let read = Slot::decode(&written, MAX_BYTES).expect("what was just written can be read");
        assert_eq!(read, Slot::Value(value.clone()));
    }
}

/// Builds the keys of an entry. Both of them must be in one slot of a cluster, whatever the names and the key.
///
/// # Panics
/// If they are not.
pub fn build_keys(app: &str, space: &str, key: &[u8]) {
    let Ok(space) = Space::new(app, space, NonZeroU16::MIN.saturating_add(15), 1) else { return };
    if let (Ok(entry), Ok(control)) = (space.entry(key), space.control(key)) {
        let tag = |key: &[u8]| {
            let open = key.iter().position(|&byte| byte == b'{').expect("a tag begins");
            let close = key.iter().position(|&byte| byte == b'}').expect("a tag ends");
            assert!(open + 1 < close, "an empty tag is none");
            key[open..close].to_vec()
        };
        assert_eq!(tag(&entry), tag(&control));
        assert!(entry.ends_with(key) && entry != control);
    }
}
