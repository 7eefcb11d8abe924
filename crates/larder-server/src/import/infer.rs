//! What type a field seems to have, from the documents seen so far.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// More fields than this in one object mean that its names are data, such as dates or countries.
const MOST_FIELDS: usize = 64;

/// What stood in one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Seen {
    /// Nothing but null.
    #[default]
    Nothing,
    Bool,
    Int,
    Double,
    Decimal,
    Date,
    ObjectId,
    String,
    Object(Fields),
    Array(Box<Seen>),
    /// Different things, or something that has no type here.
    Mixed,
}

/// The fields of the objects that stood in one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) documents: u64,
    pub(super) fields: BTreeMap<String, Place>,
}

/// One field: what was in it, and in how many documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) seen: Seen,
    pub(super) documents: u64,
    /// The longest text, in bytes.
    pub(super) longest: usize,
}

impl Fields {
    /// Takes a document in.
    pub(super) fn add(&mut self, document: &Map<String, Value>) {
        self.documents += 1;
        for (name, value) in document {
            let place = self.fields.entry(name.clone()).or_default();
            place.documents += 1;
            place.longest = place.longest.max(value.as_str().map_or(0, str::len));
            std::mem::take(&mut place.seen).with(value).clone_into(&mut place.seen);
        }
    }

    /// Whether the names of the fields are data and not a structure.
    pub(super) fn is_map(&self) -> bool {
        let odd = |name: &String| name.is_empty() || name.starts_with('$') || name.contains(['.', '\0']);
        self.fields.len() > MOST_FIELDS || self.fields.keys().any(odd)
    }
}

impl Seen {
    /// What this and the value have in common.
    fn with(self, value: &Value) -> Self {
        match (self, value) {
            (seen, Value::Null) => seen,
            (Self::Object(mut fields), Value::Object(object)) if extended(object).is_none() => {
                fields.add(object);
                Self::Object(fields)
            }
            (Self::Array(element), Value::Array(elements)) => {
                Self::Array(Box::new(elements.iter().fold(*element, Seen::with)))
            }
            (Self::Nothing, Value::Object(object)) if extended(object).is_none() => {
                let mut fields = Fields::default();
                fields.add(object);
                Self::Object(fields)
            }
            (Self::Nothing, Value::Array(elements)) => {
                Self::Array(Box::new(elements.iter().fold(Self::Nothing, Seen::with)))
            }
            (seen, value) => seen.joined(scalar(value)),
        }
    }

    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (seen, other) if seen == other => seen,
            (Self::Int | Self::Double, Self::Int | Self::Double) => Self::Double,
            // A text that looks like a date or an id is still a text.
            (Self::Date | Self::ObjectId | Self::String, Self::Date | Self::ObjectId | Self::String) => {
                Self::String
            }
            _ => Self::Mixed,
        }
    }
}

fn scalar(value: &Value) -> Seen {
    match value {
        Value::Null => Seen::Nothing,
        Value::Bool(_) => Seen::Bool,
        Value::Number(number) if number.is_i64() => Seen::Int,
        Value::Number(_) => Seen::Double,
        Value::String(text) if text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Seen::ObjectId
        }
        // With its time: a bare date is more often a label than an instant.
        Value::String(text) if text.len() >= 20 && bson::DateTime::parse_rfc3339_str(text).is_ok() => {
            Seen::Date
        }
        Value::String(_) => Seen::String,
        Value::Object(object) => extended(object).unwrap_or(Seen::Mixed),
        Value::Array(_) => Seen::Mixed,
    }
}

/// The type that a piece of Extended JSON states.
fn extended(object: &Map<String, Value>) -> Option<Seen> {
    match object.keys().next()?.as_str() {
        "$oid" => Some(Seen::ObjectId),
        "$date" => Some(Seen::Date),
        "$numberDecimal" => Some(Seen::Decimal),
        "$numberInt" | "$numberLong" => Some(Seen::Int),
        "$numberDouble" => Some(Seen::Double),
        name if name.starts_with('$') => Some(Seen::Mixed),
        _ => None,
    }
}
