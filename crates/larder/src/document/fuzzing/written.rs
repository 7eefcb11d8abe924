//! Queries written out in the grammars that they were read from.

use bson::Bson;
use serde_json::{Value, json};

use crate::document::{CompareOp, Direction, Filter, Query, SortKey};

/// The pairs of a query string that ask for `query`; `None` for a value that has no text of its own.
pub(in crate::document) fn pairs(query: &Query) -> Option<Vec<(String, String)>> {
    let mut pairs = match &query.filter {
        Filter::All => Vec::new(),
        Filter::And(parts) if parts.len() > 1 => parts.iter().map(pair).collect::<Option<_>>()?,
        one => vec![pair(one)?],
    };
    let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
    if !query.sort.is_empty() {
        add("sort", query.sort.iter().map(key).collect::<Vec<_>>().join(","));
    }
    add("limit", query.limit.to_string());
    add("offset", query.offset.to_string());
    if let Some(after) = &query.after {
        add("after", after.clone());
    }
    if let Some(fields) = &query.fields {
        add("fields", fields.join(","));
    }
    Some(pairs)
}

fn key(SortKey { path, direction }: &SortKey) -> String {
    match direction {
        Direction::Ascending => path.clone(),
        Direction::Descending => format!("-{path}"),
    }
}

/// The body that asks for `query`; `None` for a value that has no JSON of its own.
pub(in crate::document) fn body(query: &Query) -> Option<Value> {
    let mut body = json!({ "filter": object(&query.filter)?, "limit": query.limit, "offset": query.offset });
    if !query.sort.is_empty() {
        body["sort"] = query.sort.iter().map(key).collect();
    }
    if let Some(after) = &query.after {
        body["after"] = json!(after);
    }
    if let Some(fields) = &query.fields {
        body["fields"] = json!(fields);
    }
    Some(body)
}

fn object(filter: &Filter) -> Option<Value> {
    let all = |parts: &[Filter]| parts.iter().map(object).collect::<Option<Value>>();
    let values = |values: &[Bson]| values.iter().map(value).collect::<Option<Value>>();
    Some(match filter {
        Filter::All => json!({}),
        Filter::And(parts) => json!({ "and": all(parts)? }),
        Filter::Or(parts) => json!({ "or": all(parts)? }),
        Filter::In { path, values: list } => json!({ path: { "in": values(list)? } }),
        Filter::NotIn { path, values: list } => json!({ path: { "nin": values(list)? } }),
        Filter::Exists { path, present } => json!({ path: { "exists": present } }),
        Filter::Prefix { path, text } => json!({ path: { "prefix": text } }),
        Filter::Text { path, text } => json!({ path: { "text": text } }),
        Filter::Compare { path, op, value: operand } => json!({ path: { name(*op): value(operand)? } }),
    })
}

fn value(value: &Bson) -> Option<Value> {
    Some(match value {
        Bson::Null => Value::Null,
        Bson::Boolean(truth) => json!(truth),
        Bson::Int32(number) => json!(number),
        Bson::Int64(number) => json!(number),
        Bson::Double(number) => json!(number),
        Bson::ObjectId(id) => json!({ "$oid": id.to_hex() }),
        Bson::DateTime(instant) => {
            json!({ "$date": { "$numberLong": instant.timestamp_millis().to_string() } })
        }
        Bson::Decimal128(number) => json!({ "$numberDecimal": number.to_string() }),
        Bson::String(text) => json!(text),
        _ => return None,
    })
}

fn pair(filter: &Filter) -> Option<(String, String)> {
    Some(match filter {
        Filter::And(parts) => ("and".to_owned(), list(parts)?),
        Filter::Or(parts) => ("or".to_owned(), list(parts)?),
        leaf => {
            let (path, operator, operand) = leaf_of(leaf)?;
            let value = match operand {
                Operand::Word(text) | Operand::Text(text) => text,
                Operand::List(items) => format!("({})", quoted(&items).join(",")),
            };
            (path.to_owned(), format!("{operator}.{value}"))
        }
    })
}

fn list(parts: &[Filter]) -> Option<String> {
    let item = |part: &Filter| {
        Some(match part {
            Filter::And(parts) => format!("and{}", list(parts)?),
            Filter::Or(parts) => format!("or{}", list(parts)?),
            leaf => {
                let (path, operator, operand) = leaf_of(leaf)?;
                let value = match operand {
                    Operand::Word(text) => text,
                    Operand::Text(text) => quoted(&[text]).remove(0),
                    Operand::List(items) => format!("({})", quoted(&items).join(",")),
                };
                format!("{path}.{operator}.{value}")
            }
        })
    };
    Some(format!("({})", parts.iter().map(item).collect::<Option<Vec<_>>>()?.join(",")))
}

enum Operand {
    /// A word of the grammar.
    Word(String),
    /// A value, which a group quotes.
    Text(String),
    List(Vec<String>),
}

fn leaf_of(filter: &Filter) -> Option<(&str, &'static str, Operand)> {
    let texts = |values: &[Bson]| {
        // In a URL an empty list is one of an empty text.
        let texts = values.iter().map(text).collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty());
        texts.map(Operand::List)
    };
    Some(match filter {
        Filter::Compare { path, op: CompareOp::Eq, value: Bson::Null } => {
            (path, "is", Operand::Word("null".into()))
        }
        Filter::Compare { path, op: CompareOp::Ne, value: Bson::Null } => {
            (path, "not", Operand::Word("null".into()))
        }
        Filter::Compare { path, op, value } => (path, name(*op), Operand::Text(text(value)?)),
        Filter::In { path, values } => (path, "in", texts(values)?),
        Filter::NotIn { path, values } => (path, "nin", texts(values)?),
        Filter::Exists { path, present } => (path, "exists", Operand::Word(present.to_string())),
        Filter::Prefix { path, text } => (path, "prefix", Operand::Text(text.clone())),
        Filter::Text { path, text } => (path, "text", Operand::Text(text.clone())),
        Filter::All | Filter::And(_) | Filter::Or(_) => return None,
    })
}

fn name(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "eq",
        CompareOp::Ne => "ne",
        CompareOp::Gt => "gt",
        CompareOp::Gte => "gte",
        CompareOp::Lt => "lt",
        CompareOp::Lte => "lte",
    }
}

fn quoted(texts: &[String]) -> Vec<String> {
    let quote = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    texts.iter().map(quote).collect()
}

fn text(value: &Bson) -> Option<String> {
    Some(match value {
        Bson::String(text) => text.clone(),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Double(number) => ryu::Buffer::new().format(*number).to_owned(),
        Bson::Decimal128(number) => number.to_string(),
        Bson::Boolean(truth) => truth.to_string(),
        Bson::ObjectId(id) => id.to_hex(),
        // An offset can lead out of the years that have four digits.
        Bson::DateTime(instant) => instant.try_to_rfc3339_string().ok().filter(|text| text.len() < 28)?,
        _ => return None,
    })
}
