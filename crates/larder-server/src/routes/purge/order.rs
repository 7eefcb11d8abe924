//! What a purge is to forget, as the body says it.

use std::fmt;

use hyper::StatusCode;
use larder::document::MAX_IDS;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Number, value::RawValue};

use crate::{
    config::find_nearest,
    purge::{pattern_fault, tag_fault},
    routes::{
        Refusal,
        elements::{Fault, elements},
    },
};

/// The most tags that one request may name.
const MAX_TAGS: usize = 100;

const MEMBERS: [&str; 6] = ["collection", "keys", "tags", "pattern", "all", "mode"];

/// A checked order, but for its keys, which only the collection can read.
#[derive(Debug, Default, PartialEq)]
pub(in crate::routes) struct Order {
    pub(in crate::routes) collection: String,
    /// Ids in the form that they have in URLs.
    pub(in crate::routes) keys: Vec<String>,
    pub(in crate::routes) tags: Vec<String>,
    pub(in crate::routes) pattern: Option<String>,
    pub(in crate::routes) all: bool,
    /// What is cached becomes stale instead of going.
    pub(in crate::routes) soft: bool,
}

/// Reads a body, member by member: what is wrong is refused before what comes behind it is looked at.
///
/// # Errors
/// 400 naming the member that is wrong, 413 for too many keys or tags.
pub(in crate::routes) fn read(body: &[u8]) -> Result<Order, Refusal> {
    let mut reading = Reading::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = deserializer.deserialize_map(&mut reading).and_then(|()| deserializer.end());
    if let Some(refusal) = reading.refusal {
        return Err(refusal);
    }
    read.map_err(|error| {
        let detail = format!("must be a JSON object: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid-json", detail)
            .with_position(error.line(), error.column())
    })?;
    check(&reading.order)?;
    Ok(reading.order)
}

/// What was read of a body so far.
#[derive(Default)]
struct Reading {
    order: Order,
    refusal: Option<Refusal>,
}

impl<'de> Visitor<'de> for &mut Reading {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value::<&'de RawValue>()?;
            if let Err(refusal) = self.order.take(&name, value.get()) {
                self.refusal = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

impl Order {
    /// Takes a member in, whose value is still JSON.
    fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "collection" => self.collection = text("collection", value)?,
            "keys" => self.keys = texts("keys", MAX_IDS, value, key)?,
            "tags" => self.tags = texts("tags", MAX_TAGS, value, tag)?,
            "pattern" => self.pattern = Some(pattern(value)?),
            "all" => {
                self.all = serde_json::from_str(value)
                    .map_err(|_| Refusal::invalid("all", "must be true or false"))?;
            }
            "mode" => {
                self.soft = match text("mode", value).ok().as_deref() {
                    Some("hard") => false,
                    Some("soft") => true,
                    _ => return Err(Refusal::invalid("mode", "must be \"hard\" or \"soft\"")),
                };
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

fn check(order: &Order) -> Result<(), Refusal> {
    if order.collection.is_empty() {
        return Err(Refusal::invalid("collection", "is missing: the name of a collection"));
    }
    let is_broad = !order.tags.is_empty() || order.pattern.is_some() || order.all;
    if order.keys.is_empty() && !is_broad {
        return Err(Refusal::invalid("keys", "nothing is named: give keys, tags, a pattern, or all = true"));
    }
    Ok(())
}

fn unknown(name: &str) -> Refusal {
    let detail = match find_nearest(name, MEMBERS) {
        Some(nearest) => format!("is not known; did you mean \"{nearest}\"?"),
        None => format!("is not known; a purge has {}", MEMBERS.join(", ")),
    };
    Refusal::invalid(name.chars().take(64).collect::<String>(), detail)
}

fn text(field: &str, value: &str) -> Result<String, Refusal> {
    serde_json::from_str(value).map_err(|_| Refusal::invalid(field, "must be text"))
}

fn pattern(value: &str) -> Result<String, Refusal> {
    let pattern = text("pattern", value)?;
    match pattern_fault(&pattern) {
        None => Ok(pattern),
        Some(fault) => Err(Refusal::invalid("pattern", fault)),
    }
}

fn texts(
    field: &str,
    most: usize,
    value: &str,
    read: fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, Refusal> {
    let items = elements(value.as_bytes(), most).map_err(|fault| match fault {
        Fault::Syntax(_) => Refusal::invalid(field, "must be a list"),
        Fault::TooMany => {
            let detail = format!("at most {most} at once; send them in parts");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with_field(field)
        }
    })?;
    let read =
        |(index, item)| read(item).map_err(|wrong| Refusal::invalid(format!("{field}[{index}]"), wrong));
    items.into_iter().enumerate().map(read).collect()
}

/// The id of a document in its URL form; for an integer the number itself will do.
fn key(value: &str) -> Result<String, String> {
    let number = || serde_json::from_str::<Number>(value).map(|number| number.to_string());
    serde_json::from_str(value)
        .or_else(|_| number())
        .map_err(|_| "must be an id as it stands in URLs".to_owned())
}

fn tag(value: &str) -> Result<String, String> {
    // What is no text is refused as an empty one is.
    let tag: String = serde_json::from_str(value).unwrap_or_default();
    match tag_fault(&tag) {
        None => Ok(tag),
        Some(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use larder::cache::MAX_PATTERN_BYTES;

    use super::*;

    #[test]
    fn an_order_is_read_as_it_is_documented() {
        let body = r#"{"collection":"products","keys":["a",7],"tags":["t"],"pattern":"x*","all":true,"mode":"hard"}"#;
        let expected = Order {
            collection: "products".to_owned(),
            keys: vec!["a".to_owned(), "7".to_owned()],
            tags: vec!["t".to_owned()],
            pattern: Some("x*".to_owned()),
            all: true,
            soft: false,
        };
        assert_eq!(read(body.as_bytes()).unwrap(), expected);
        for named in [r#""keys":["a"]"#, r#""tags":["t"]"#, r#""pattern":"a*""#, r#""all":true"#] {
            let body = format!(r#"{{"collection":"c",{named},"mode":"soft"}}"#);
            assert!(read(body.as_bytes()).unwrap().soft, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = format!(r#"{{"collection":"c","keys":[{}0]}}"#, "0,".repeat(MAX_IDS));
        let long =
            format!(r#"{{"collection":"c","keys":["a"],"pattern":"{}"}}"#, "*".repeat(MAX_PATTERN_BYTES + 1));
        for (body, status, field) in [
            ("[]", 400, None),
            ("{", 400, None),
            (r#"{"keys":["a"]}"#, 400, Some("collection")),
            (r#"{"collection":7,"keys":["a"]}"#, 400, Some("collection")),
            (r#"{"collection":"c"}"#, 400, Some("keys")),
            (r#"{"collection":"c","keys":"a"}"#, 400, Some("keys")),
            (r#"{"collection":"c","keys":["a",null]}"#, 400, Some("keys[1]")),
            (r#"{"collection":"c","tags":[""]}"#, 400, Some("tags[0]")),
            (r#"{"collection":"c","patern":"a"}"#, 400, Some("patern")),
            (r#"{"collection":"c","all":"yes"}"#, 400, Some("all")),
            (r#"{"collection":"c","all":true,"mode":"warm"}"#, 400, Some("mode")),
            (r#"{"collection":"c","keys":["a"],"pattern":""}"#, 400, Some("pattern")),
            (&long, 400, Some("pattern")),
            (&many, 413, Some("keys")),
            (r#"{"patern":"a", and no end"#, 400, Some("patern")),
        ] {
            let refusal = read(body.as_bytes()).unwrap_err();
            let problem = refusal.to_json();
            assert_eq!((refusal.status().as_u16(), problem["field"].as_str()), (status, field), "{problem}");
        }
    }
}
