//! `$match`: the part of MongoDB's query language that filters know.

use bson::{Bson, Document};

use super::{MAX_EXPRESSION_DEPTH, config};
use crate::{
    Result,
    document::{CompareOp, Filter, ingest::excerpt},
};

/// Reads a query document.
pub(super) fn read_filter(query: &Document) -> Result<Filter> {
    read_level(query, 0)
}

fn read_level(query: &Document, depth: u32) -> Result<Filter> {
    if depth > MAX_EXPRESSION_DEPTH {
        return Err(config("$match is nested too deeply"));
    }
    let mut all = Vec::with_capacity(query.len());
    for (name, value) in query {
        match (name.as_str(), value) {
            ("$and", Bson::Array(parts)) => all.push(Filter::And(read_parts(parts, depth)?)),
            ("$or", Bson::Array(parts)) => all.push(Filter::Or(read_parts(parts, depth)?)),
            (name, _) if name.starts_with('$') => {
                return Err(config(format!("$match cannot use `{}`", excerpt(name))));
            }
            (path, Bson::Document(operators)) if operators.keys().any(|name| name.starts_with('$')) => {
                for (operator, operand) in operators {
                    all.push(read_operator(path, operator, operand)?);
                }
            }
            (path, value) => all.push(compare(path, CompareOp::Eq, value)?),
        }
    }
    Ok(match all.len() {
        0 => Filter::All,
        1 => all.remove(0),
        _ => Filter::And(all),
    })
}

fn read_parts(parts: &[Bson], depth: u32) -> Result<Vec<Filter>> {
    if parts.is_empty() {
        return Err(config("`$and` and `$or` need at least one part"));
    }
    let part = |part: &Bson| match part {
        Bson::Document(query) => read_level(query, depth + 1),
        _ => Err(config("the parts of `$and` and `$or` must be documents")),
    };
    parts.iter().map(part).collect()
}

fn read_operator(path: &str, operator: &str, operand: &Bson) -> Result<Filter> {
    let op = match (operator, operand) {
        ("$eq", _) => CompareOp::Eq,
        ("$ne", _) => CompareOp::Ne,
        ("$gt", _) => CompareOp::Gt,
        ("$gte", _) => CompareOp::Gte,
        ("$lt", _) => CompareOp::Lt,
        ("$lte", _) => CompareOp::Lte,
        ("$in", Bson::Array(values)) => {
            return Ok(Filter::In { path: path.to_owned(), values: values.clone() });
        }
        ("$nin", Bson::Array(values)) => {
            return Ok(Filter::NotIn { path: path.to_owned(), values: values.clone() });
        }
        ("$exists", Bson::Boolean(present)) => {
            return Ok(Filter::Exists { path: path.to_owned(), present: *present });
        }
        _ => return Err(config(format!("$match cannot use `{}` on `{}`", excerpt(operator), excerpt(path)))),
    };
    compare(path, op, operand)
}

fn compare(path: &str, op: CompareOp, value: &Bson) -> Result<Filter> {
    if matches!(value, Bson::RegularExpression(_)) {
        return Err(config(format!("$match cannot use a regular expression on `{}`", excerpt(path))));
    }
    Ok(Filter::Compare { path: path.to_owned(), op, value: value.clone() })
}
