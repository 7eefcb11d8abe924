//! Hash slots: which of the 16,384 slots of Redis Cluster a key belongs to.

use crate::{Error, ErrorKind, Result};

/// How many slots every Redis Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of `key`, as `CLUSTER KEYSLOT` answers it.
///
/// Only the part between the first `{` and the next `}` counts, if there is at least one byte between them.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// Checks that every key lies in the slot of the first one. No keys at all is fine.
///
/// Checked against a single server as well, so that what works there works in a cluster.
pub(crate) fn same_slot<'k>(slot_key: &[u8], keys: impl IntoIterator<Item = &'k [u8]>) -> Result<()> {
    let slot = slot_of(slot_key);
    match keys.into_iter().find(|key| slot_of(key) != slot) {
        None => Ok(()),
        Some(stray) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "key {:?} is not in the hash slot of {:?}: keys of one call share one hash tag",
                String::from_utf8_lossy(stray),
                String::from_utf8_lossy(slot_key),
            ),
        )),
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        Some(0) | None => key,
        Some(close) => &rest[..close],
    }
}

/// CRC-16/XMODEM, the one Redis Cluster uses.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

static TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn only_a_filled_hash_tag_counts() {
        for (key, tag) in [
            ("{user.07}:v1:e:a", "user.07"),
            ("plain", "plain"),
            ("{}empty", "{}empty"),
            ("open{only", "open{only"),
            ("{{a}}", "{a"),
            ("a{b}{c}", "b"),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn a_stray_key_is_named() {
        let error = same_slot(b"{a}1", [b"{a}2".as_slice(), b"{b}3"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("{b}3"), "{error}");
    }
}
