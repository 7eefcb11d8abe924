//! JSON strings: runs without anything to escape are copied as a whole.

use crate::document::word::clean_prefix;

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
