//! Eight bytes looked at in one step: names and texts are short, and every document has many.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Where the first zero byte is.
#[inline]
pub(super) fn find_zero(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The borrow of a zero byte may mark bytes after it, none before.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| *byte == 0).map(|found| words.len() * 8 + found)
}

/// Whether the bytes are UTF-8. Most texts are ASCII, and nearly all names.
#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// How many bytes from the start need no escape in JSON.
#[inline]
pub(super) fn clean_prefix(bytes: &[u8]) -> usize {
    // Without a branch inside, which the compiler turns into wide instructions.
    let is_clean_run = |run: &[u8; 32]| run.iter().fold(true, |clean, byte| clean & !needs_escape(*byte));
    let mut start = bytes.as_chunks::<32>().0.iter().take_while(|run| is_clean_run(run)).count() * 32;
    loop {
        let (words, rest) = bytes[start..].as_chunks::<8>();
        let clean_words = words.iter().take_while(|word| is_clean(**word)).count();
        start += clean_words * 8;
        let one_by_one = match words.get(clean_words) {
            Some(unclean) => &unclean[..],
            // The last eight bytes overlap with what was looked at.
            None if bytes.last_chunk().is_some_and(|last| is_clean(*last)) => return bytes.len(),
            None => rest,
        };
        match one_by_one.iter().position(|byte| needs_escape(*byte)) {
            Some(found) => return start + found,
            None => start += one_by_one.len(),
        }
        if start == bytes.len() {
            return start;
        }
    }
}

/// Whether none of the eight bytes needs an escape. A byte with its high bit set never does, so the borrow of a
/// subtraction can at worst call a clean word unclean.
fn is_clean(word: [u8; 8]) -> bool {
    let word = u64::from_le_bytes(word);
    let below_space = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    (below_space | quote | backslash) & !word & HIGHS == 0
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![8 => 0x1e_u8..0x80, 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0), 1 => any::<u8>()];
        proptest::collection::vec(byte, 0..40)
    }

    proptest! {
        #[test]
        fn words_find_what_single_bytes_would(bytes in bytes(), clean in 0_usize..40) {
            prop_assert_eq!(find_zero(&bytes), bytes.iter().position(|byte| *byte == 0));
            prop_assert_eq!(is_utf8(&bytes), std::str::from_utf8(&bytes).is_ok());
            let bytes = [vec![b'a'; clean * 4], bytes].concat();
            let expected = bytes.iter().position(|byte| needs_escape(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(clean_prefix(&bytes), expected);
        }
    }
}
