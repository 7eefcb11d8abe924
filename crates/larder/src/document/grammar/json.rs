//! Objects and lists of a JSON text, piece by piece: what is wrong is refused before what comes behind it is looked at, and
//! pieces stay text until somebody knows what they must be.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Error, Result, document::ingest::excerpt};

/// Hands on each member of an object, in order, until one is refused.
///
/// # Errors
/// The error of `take`; one that names a member which comes twice; `wrong` for what is no object.
pub(super) fn members<'a>(
    json: &'a str,
    wrong: impl FnOnce() -> Error,
    mut take: impl FnMut(&str, &'a str) -> Result<()>,
) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    let mut once = |name: Option<String>, value| {
        let name = name.unwrap_or_default();
        if names.contains(&name) {
            return Err(Error::invalid(excerpt(&name), "is given twice"));
        }
        take(&name, value)?;
        names.push(name);
        Ok(())
    };
    let mut pieces = Pieces { take: &mut once, refused: None };
    let walked = serde_json::Deserializer::from_str(json).deserialize_map(&mut pieces);
    pieces.end(walked, wrong)
}

/// Hands on each element of a list, in order, until one is refused.
///
/// # Errors
/// The error of `take`; `wrong` for what is no list.
pub(super) fn elements<'a>(
    json: &'a str,
    wrong: impl FnOnce() -> Error,
    mut take: impl FnMut(&'a str) -> Result<()>,
) -> Result<()> {
    let mut each = |_: Option<String>, value| take(value);
    let mut pieces = Pieces { take: &mut each, refused: None };
    let walked = serde_json::Deserializer::from_str(json).deserialize_seq(&mut pieces);
    pieces.end(walked, wrong)
}

/// Takes pieces with their names, if they have any.
struct Pieces<'t, 'a> {
    take: &'t mut dyn FnMut(Option<String>, &'a str) -> Result<()>,
    /// Kept beside serde's own error, which says less.
    refused: Option<Error>,
}

impl<'a> Pieces<'_, 'a> {
    fn piece<E: serde::de::Error>(&mut self, name: Option<String>, value: &'a RawValue) -> Result<(), E> {
        (self.take)(name, value.get()).map_err(|error| {
            self.refused = Some(error);
            E::custom("refused")
        })
    }

    fn end(self, walked: serde_json::Result<()>, wrong: impl FnOnce() -> Error) -> Result<()> {
        match self.refused {
            Some(error) => Err(error),
            None => walked.map_err(|_| wrong()),
        }
    }
}

impl<'de> Visitor<'de> for &mut Pieces<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value()?;
            self.piece(Some(name), value)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(value) = elements.next_element()? {
            self.piece(None, value)?;
        }
        Ok(())
    }
}
