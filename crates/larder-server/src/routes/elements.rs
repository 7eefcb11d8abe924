//! The elements of a JSON array, cut one by one and not read. Only as many are kept as there may be: small ones take far less room as
//! text than as anything else.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Why an array could not be cut.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has more elements than it may; the rest was not looked at.
    TooMany,
    Syntax(serde_json::Error),
}

/// The elements of the array that `json` is, at most so many.
///
/// # Errors
/// For another number of elements, and for what is no array.
pub(super) fn elements(json: &[u8], most: usize) -> Result<Vec<&str>, Fault> {
    let mut cut = Cut { most, found: Vec::new(), is_over: false };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    match cut.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(cut.found),
        Err(_) if cut.is_over => Err(Fault::TooMany),
        Err(error) => Err(Fault::Syntax(error)),
    }
}

struct Cut<'de> {
    most: usize,
    found: Vec<&'de str>,
    is_over: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Cut<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Cut<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&'de RawValue>()? {
            if self.found.len() == self.most {
                self.is_over = true;
                return Err(A::Error::custom("too many elements"));
            }
            self.found.push(element.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_cut_and_not_read() {
        assert_eq!(
            elements(br#" [ {"a":[1,2]}, "],", 1e999 ] "#, 3).unwrap(),
            [r#"{"a":[1,2]}"#, r#""],""#, "1e999"]
        );
        assert!(elements(b"[]", 0).unwrap().is_empty());
        for wrong in ["", "{}", "[", "[1", "[1,]", "[1] 2", "7"] {
            assert!(matches!(elements(wrong.as_bytes(), 3), Err(Fault::Syntax(_))), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_read_past_one_element_too_many() {
        assert!(matches!(elements(b"[0,0,0,0,0,0", 3), Err(Fault::TooMany)));
        assert!(matches!(elements(b"[0,0,0", 3), Err(Fault::Syntax(_))));
    }
}
