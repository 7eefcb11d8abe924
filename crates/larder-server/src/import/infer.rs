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
    /// Stated outright, by Extended JSON.
    Date,
    ObjectId,
    /// Texts that can be read as that.
    DateText,
    ObjectIdText,
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

/// One field: what was in it, and in how many documents something was.
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
            // What is required must not be null.
            place.documents += u64::from(!value.is_null());
            place.longest = place.longest.max(value.as_str().map_or(0, str::len));
            std::mem::take(&mut place.seen).with(value).clone_into(&mut place.seen);
        }
    }

    /// Takes in that there is such a field, whatever stands in it.
    pub(super) fn expect(&mut self, path: &str) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let place = self.fields.entry(name.to_owned()).or_default();
        let Some(rest) = rest else { return };
        if place.seen == Seen::Nothing {
            place.seen = Seen::Object(Self::default());
        }
        if let Seen::Object(fields) = &mut place.seen {
            fields.expect(rest);
        }
    }

    /// Whether the names of the fields are data and not a structure.
    pub(super) fn is_map(&self) -> bool {
        self.fields.len() > MOST_FIELDS || self.fields.keys().any(|name| is_odd(name))
    }
}

/// Whether a field of this name can neither be declared nor be stored.
pub(super) fn is_odd(name: &str) -> bool {
    name.is_empty() || name.starts_with('$') || name.contains(['.', '\0'])
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

    fn is_text(&self) -> bool {
        matches!(self, Self::DateText | Self::ObjectIdText | Self::String)
    }

    fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (seen, other) if seen == other => seen,
            (Self::Int | Self::Double, Self::Int | Self::Double) => Self::Double,
            (Self::Date, Self::DateText) | (Self::DateText, Self::Date) => Self::Date,
            (Self::ObjectId, Self::ObjectIdText) | (Self::ObjectIdText, Self::ObjectId) => Self::ObjectId,
            // A text that looks like a date or an id is still a text.
            (seen, other) if seen.is_text() && other.is_text() => Self::String,
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
            Seen::ObjectIdText
        }
        // With its time: a bare date is more often a label than an instant.
        Value::String(text) if text.len() >= 20 && bson::DateTime::parse_rfc3339_str(text).is_ok() => {
            Seen::DateText
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
