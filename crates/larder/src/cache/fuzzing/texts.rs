//! Tokens, keys and patterns.

use crate::cache::{TenantKey, Token, purge::matches};

/// One token has one text.
pub fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(token) = text.parse::<Token>()
    {
        assert_eq!(token.to_string(), text);
    }
}

/// A tenant's key has one text.
pub fn tenant_key(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(key) = text.parse::<TenantKey<String>>()
    {
        assert_eq!(key.to_string(), text);
    }
}

/// How much of a text and of each half of a pattern is looked at: every place where a star may end is tried.
const MOST_MATCHED: usize = 64;

/// A star takes any text and nothing else; what is escaped stands for itself alone. Two halves of a pattern and a text, a line each.
pub fn glob(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n').map(|line| &line[..line.len().min(MOST_MATCHED)]);
    let (Some(first), Some(last), Some(text)) = (lines.next(), lines.next(), lines.next()) else { return };
    for (pattern, other) in [(first, text), (last, text), (first, last)] {
        let escaped: Vec<u8> = pattern.iter().flat_map(|byte| [b'\\', *byte]).collect();
        assert_eq!(matches(&escaped, other), pattern == other, "{escaped:?} {other:?}");
        assert!(matches(&escaped, pattern), "{escaped:?}");
        assert_eq!(matches(&[b"*", pattern].concat(), other), ends(pattern, other), "{pattern:?} {other:?}");
    }
    // Whatever is open there, a class or an escape, is closed by this.
    let first = [first, b"]]"].concat();
    let expected = (0..=text.len()).any(|end| matches(&first, &text[..end]) && ends(last, &text[end..]));
    assert_eq!(matches(&[&first, &b"*"[..], last].concat(), text), expected, "{first:?} {last:?} {text:?}");
}

/// Whether the text has an end that is what the pattern says.
fn ends(pattern: &[u8], text: &[u8]) -> bool {
    (0..=text.len()).any(|from| matches(pattern, &text[from..]))
}
