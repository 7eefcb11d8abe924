//! Header values that many answers have.

use bytes::Bytes;
use hyper::header::{HeaderValue, InvalidHeaderValue};

/// A value that is kept for ever: nobody counts who holds it, which would be a line of memory that all threads write to. For
/// values of which there is a bounded number.
///
/// # Errors
/// It cannot stand in a header.
pub(crate) fn kept(text: String) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from_static(text.leak().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_stand_in_a_header_can_be_kept() {
        for text in ["", "private, no-cache", "tab\tand \u{fc}", "line\nbreak", "null\0"] {
            assert_eq!(kept(text.to_owned()).ok(), HeaderValue::from_str(text).ok(), "{text:?}");
        }
    }
}
