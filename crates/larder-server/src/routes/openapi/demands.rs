//! What the database itself demands of a field: the keywords of MongoDB's `$jsonSchema` that mean the same in OpenAPI.
//!
//! Only what is declared is looked up in it, and only as far as a role sees it: its other fields do not show. What is not
//! understood, or is larger than a description needs, is left out; the description then promises more than the database takes,
//! which answers such a write with an error of its own.

use bson::{Bson, Document};
use larder::document::FieldType;
use serde_json::{Value, json};

/// The longest text and the most values of an `enum` that are taken over.
const MAX_TEXT_BYTES: usize = 1_024;
const MAX_VALUES: usize = 100;

/// What is demanded of one value, if the database says anything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demands<'a>(Option<&'a Document>);

impl<'a> Demands<'a> {
    pub(super) fn new(schema: Option<&'a Document>) -> Self {
        Self(schema)
    }

    /// What is demanded of a member of an object.
    pub(super) fn member(self, name: &str) -> Self {
        Self(self.0.and_then(|schema| schema.get_document("properties").ok()?.get_document(name).ok()))
    }

    /// What is demanded of the elements of an array.
    pub(super) fn elements(self) -> Self {
        Self(self.0.and_then(|schema| schema.get_document("items").ok()))
    }

    /// Whether an object has to have this member.
    pub(super) fn require(self, name: &str) -> bool {
        let required = self.0.and_then(|schema| schema.get_array("required").ok());
        required.is_some_and(|names| names.iter().any(|one| one.as_str() == Some(name)))
    }

    /// Whether null is not among the types that it may have.
    pub(super) fn refuse_null(self) -> bool {
        self.types().is_some_and(|types| !types.contains(&"null"))
    }

    /// What people wrote about it.
    pub(super) fn describe(self, schema: &mut Value) {
        for name in ["title", "description"] {
            if let Some(text) = self.0.and_then(|said| said.get_str(name).ok()).filter(|text| is_short(text))
            {
                insert(schema, name, json!(text));
            }
        }
    }

    /// Adds what is demanded of a value of this declared type.
    pub(super) fn restrict(self, schema: &mut Value, field_type: &FieldType) {
        let Some(said) = self.0 else { return };
        if *field_type == FieldType::Any
            && let Some(alternatives) =
                self.types().and_then(|types| types.into_iter().map(of_bson_type).collect())
        {
            insert(schema, "anyOf", Value::Array(alternatives));
        }
        if matches!(field_type, FieldType::Int | FieldType::Double | FieldType::Decimal | FieldType::Any) {
            insert_bound(schema, said, "minimum", "exclusiveMinimum");
            insert_bound(schema, said, "maximum", "exclusiveMaximum");
            let step = said.get("multipleOf").and_then(number).filter(|step| step.as_f64() > Some(0.0));
            step.into_iter().for_each(|step| insert(schema, "multipleOf", step));
        }
        if matches!(field_type, FieldType::String | FieldType::Any) {
            insert_sizes(schema, said, ["minLength", "maxLength"]);
            let pattern = said.get_str("pattern").ok().filter(|pattern| is_common(pattern));
            pattern.into_iter().for_each(|pattern| insert(schema, "pattern", json!(pattern)));
        }
        if matches!(field_type, FieldType::Array(_) | FieldType::Any) {
            insert_sizes(schema, said, ["minItems", "maxItems"]);
        }
        // Of the others some values are written in several ways.
        if matches!(field_type, FieldType::String | FieldType::Int | FieldType::Bool | FieldType::Any) {
            let values =
                said.get_array("enum").ok().filter(|values| (1..=MAX_VALUES).contains(&values.len()));
            let values = values.and_then(|values| values.iter().map(scalar).collect::<Option<Vec<_>>>());
            values.into_iter().for_each(|values| insert(schema, "enum", Value::Array(values)));
        }
    }

    /// The names of the types that it may have.
    fn types(self) -> Option<Vec<&'a str>> {
        let said = self.0?;
        match said.get("bsonType").or_else(|| said.get("type"))? {
            Bson::String(one) => Some(vec![one]),
            Bson::Array(several) => several.iter().map(Bson::as_str).collect(),
            _ => None,
        }
    }
}

fn insert(schema: &mut Value, name: &str, value: Value) {
    // A schema that allows everything is `true`.
    if !schema.is_object() {
        *schema = json!({});
    }
    schema[name] = value;
}

/// In MongoDB a bound is made exclusive by a flag beside it, in OpenAPI by a keyword of its own.
fn insert_bound(schema: &mut Value, said: &Document, inclusive: &str, exclusive: &str) {
    let is_exclusive = said.get_bool(exclusive).is_ok_and(|flag| flag);
    if let Some(bound) = said.get(inclusive).and_then(number) {
        insert(schema, if is_exclusive { exclusive } else { inclusive }, bound);
    }
}

fn insert_sizes(schema: &mut Value, said: &Document, names: [&str; 2]) {
    for name in names {
        let size = said.get(name).and_then(number).and_then(|size| size.as_f64());
        // A whole number that every reader of JSON has.
        if let Some(size) =
            size.filter(|size| size.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(size))
        {
            insert(schema, name, json!(size as u32));
        }
    }
}

fn of_bson_type(name: &str) -> Option<Value> {
    Some(match name {
        "string" | "object" | "array" | "null" => json!({ "type": name }),
        "int" | "long" => json!({ "type": "integer" }),
        "bool" | "boolean" => json!({ "type": "boolean" }),
        "double" => json!({ "$ref": "#/components/schemas/Double" }),
        "decimal" => json!({ "$ref": "#/components/schemas/Decimal" }),
        "date" => json!({ "$ref": "#/components/schemas/Date" }),
        "objectId" => json!({ "$ref": "#/components/schemas/ObjectId" }),
        _ => return None,
    })
}

fn number(value: &Bson) -> Option<Value> {
    match value {
        Bson::Int32(number) => Some(json!(number)),
        Bson::Int64(number) => Some(json!(number)),
        Bson::Double(number) if number.is_finite() => Some(json!(number)),
        Bson::Decimal128(number) => number
            .to_string()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(|number| json!(number)),
        _ => None,
    }
}

fn scalar(value: &Bson) -> Option<Value> {
    match value {
        Bson::String(text) => is_short(text).then(|| json!(text)),
        Bson::Boolean(value) => Some(json!(value)),
        Bson::Null => Some(Value::Null),
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) => number(value),
        _ => None,
    }
}

fn is_short(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES
}

/// Whether a regular expression is written with what MongoDB's kind and that of OpenAPI have in common.
fn is_common(pattern: &str) -> bool {
    const ESCAPED: &str = "dDwWsSbBnrt.^$|()[]{}*+?/\\-";
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_understood = match letter {
            '\\' => letters.next().is_some_and(|escaped| ESCAPED.contains(escaped)),
            '(' if letters.next_if_eq(&'?').is_some() => matches!(letters.next(), Some(':' | '=' | '!')),
            // A second sign behind one that repeats makes it possessive.
            '*' | '+' | '?' | '}' => letters.peek() != Some(&'+'),
            // A class by its name.
            '[' => letters.peek() != Some(&':'),
            _ => true,
        };
        if !is_understood {
            return false;
        }
    }
    is_short(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    use bson::doc;

    fn restricted(field_type: &FieldType, said: &Document) -> Value {
        let mut schema = json!({});
        Demands::new(Some(said)).restrict(&mut schema, field_type);
        schema
    }

    #[test]
    fn keywords_are_taken_over_where_they_mean_the_same() {
        let decimal: bson::Decimal128 = "0.5".parse().unwrap();
        for (field_type, said, expected) in [
            (
                FieldType::Int,
                doc! { "bsonType": "int", "minimum": 2017, "maximum": 3017_i64 },
                json!({ "minimum": 2017, "maximum": 3017 }),
            ),
            (
                FieldType::Double,
                doc! { "minimum": 0, "exclusiveMinimum": true },
                json!({ "exclusiveMinimum": 0 }),
            ),
            (
                FieldType::Double,
                doc! { "maximum": 5.5, "exclusiveMaximum": false },
                json!({ "maximum": 5.5 }),
            ),
            (FieldType::Decimal, doc! { "minimum": decimal }, json!({ "minimum": 0.5 })),
            (FieldType::Int, doc! { "multipleOf": 5 }, json!({ "multipleOf": 5 })),
            (FieldType::Int, doc! { "multipleOf": 0, "minimum": "0", "pattern": "^a" }, json!({})),
            (
                FieldType::String,
                doc! { "minLength": 1, "maxLength": 8.0, "pattern": "^[a-z]+$" },
                json!({ "minLength": 1, "maxLength": 8, "pattern": "^[a-z]+$" }),
            ),
            (FieldType::String, doc! { "minLength": -1, "maxLength": 1.5, "minimum": 3 }, json!({})),
            (
                FieldType::String,
                doc! { "enum": ["Math", "Other", null] },
                json!({ "enum": ["Math", "Other", null] }),
            ),
            (FieldType::String, doc! { "enum": ["a", { "$oid": 1 }] }, json!({})),
            (FieldType::Date, doc! { "enum": [bson::DateTime::MIN], "pattern": "^a" }, json!({})),
            (
                FieldType::Any,
                doc! { "bsonType": ["double", "null"] },
                json!({ "anyOf": [{ "$ref": "#/components/schemas/Double" }, { "type": "null" }] }),
            ),
            (FieldType::Any, doc! { "bsonType": ["int", "regex"], "maxItems": 3 }, json!({ "maxItems": 3 })),
            (FieldType::Bool, doc! { "bsonType": "bool", "$where": "1", "not": {} }, json!({})),
        ] {
            assert_eq!(restricted(&field_type, &said), expected, "{said}");
        }
    }

    #[test]
    fn what_is_too_large_or_written_for_another_engine_is_left_out() {
        let long = "a".repeat(MAX_TEXT_BYTES + 1);
        let many: Vec<Bson> = (0..=MAX_VALUES as i32).map(Bson::Int32).collect();
        for said in [
            doc! { "enum": [long.clone()] },
            doc! { "enum": many },
            doc! { "enum": [] },
            doc! { "pattern": long.clone() },
            doc! { "pattern": "(?i)tea" },
            doc! { "pattern": "(?<name>a)" },
            doc! { "pattern": "\\Atea\\z" },
            doc! { "pattern": "a++" },
            doc! { "pattern": "[[:alpha:]]" },
            doc! { "pattern": "\\" },
        ] {
            assert_eq!(restricted(&FieldType::String, &said), json!({}), "{said}");
        }
        let mut schema = json!(true);
        Demands::new(Some(&doc! { "description": long, "title": 5 })).describe(&mut schema);
        assert_eq!(schema, json!(true));
    }
}
