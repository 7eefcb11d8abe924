//! JSON strings: runs without anything to escape are copied as a whole.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Appends `text` as a JSON string.
pub(super) fn write_text(text: &[u8], json: &mut Vec<u8>) {
    json.push(b'"');
    let mut rest = text;
    loop {
        let clean = clean_prefix(rest);
        json.extend_from_slice(&rest[..clean]);
        match rest.get(clean) {
            None => break,
            Some(byte) => write_escape(*byte, json),
        }
        rest = &rest[clean + 1..];
    }
    json.push(b'"');
}

/// How many bytes from the start need no escape; eight are looked at in one step.
fn clean_prefix(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let clean_words = words.iter().take_while(|word| is_clean(u64::from_le_bytes(**word))).count();
    let start = clean_words * 8;
    bytes[start..].iter().position(|byte| needs_escape(*byte)).map_or(bytes.len(), |found| start + found)
}

/// Whether none of the eight bytes needs an escape. A byte with its high bit set never does, so the borrow of a
/// subtraction can at worst call a clean word unclean.
fn is_clean(word: u64) -> bool {
    let below_space = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    (below_space | quote | backslash) & !word & HIGHS == 0
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, json: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            json.extend_from_slice(b"\\u00");
            json.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    json.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_reads_back(text in "[\\x00-\\x7f\u{80}-\u{10ffff}\"\\\\]{0,40}") {
            let mut json = Vec::new();
            super::write_text(text.as_bytes(), &mut json);
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
