//! Lists by a JSON body: an object with the settings of a list, and a filter that looks like MongoDB's. It is an allow-list on
//! what was parsed: every name in it is a declared field, or one of the operators that there are.

use bson::Bson;
use serde_json::value::RawValue;

use super::{
    QueryLimits, QueryParser,
    condition::{Conditions, Operand, Written, gather},
    draft::{Draft, MAX_FIELDS, MAX_SORT_KEYS},
    json,
};
use crate::{
    Error, Result,
    document::{
        Filter, Query, Schema,
        ingest::{self, excerpt},
    },
};

/// The values of Extended JSON that a declared field can have. No other name with a `$` is taken for a value.
const EXTENDED: [&str; 6] = ["$oid", "$date", "$numberDecimal", "$numberInt", "$numberLong", "$numberDouble"];

/// Reads a query from the text of a body.
pub(super) fn read(parser: &QueryParser<'_>, limits: &QueryLimits, body: &[u8]) -> Result<Query> {
    // All of it is walked once, so that below only what it means can be wrong.
    let body: &RawValue = serde_json::from_slice(body).map_err(|error| ingest::syntax(&error))?;
    let mut reading = Body { conditions: Conditions::new(parser, limits), draft: Draft::new(parser, limits) };
    let wrong = || Error::invalid("body", "must be an object, such as {\"filter\": {}, \"limit\": 10}");
    json::members(body.get(), wrong, |name, value| reading.member(name, value))?;
    reading.draft.finish()
}

struct Body<'a> {
    conditions: Conditions<'a>,
    draft: Draft<'a>,
}

impl Body<'_> {
    fn member(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "filter" => {
                self.draft.filters = self.all_of(name, value, 0)?;
                Ok(())
            }
            "sort" => self.draft.sort(texts(name, value, MAX_SORT_KEYS)?.iter().map(String::as_str)),
            "limit" => self.draft.limit(value),
            "offset" => self.draft.offset(value),
            "after" => self.draft.after(&text(name, value)?),
            "fields" => match texts(name, value, MAX_FIELDS)? {
                none if none.is_empty() => Err(Error::invalid(name, "must name a field, or be left out")),
                paths => self.draft.fields(paths.iter().map(String::as_str)),
            },
            _ => {
                let known = "is not known; a query has filter, sort, limit, offset, after and fields";
                Err(Error::invalid(excerpt(name), known))
            }
        }
    }

    /// The conditions of one object.
    fn all_of(&mut self, at: &str, object: &str, depth: usize) -> Result<Vec<Filter>> {
        let mut filters = Vec::new();
        let wrong =
            || Error::invalid(at, "must be an object with conditions, such as {\"price\": {\"gte\": 10}}");
        json::members(object, wrong, |name, value| match self.group_name(name, value) {
            Some(group) => {
                filters.push(self.group(group, value, depth + 1)?);
                Ok(())
            }
            None => self.field(name, value, &mut filters),
        })?;
        Ok(filters)
    }

    /// A field may be called `or`. No field is compared with a list, and a group is nothing else.
    fn group_name(&self, name: &str, value: &str) -> Option<&'static str> {
        let parser = self.conditions.parser;
        let is_field =
            !value.starts_with('[') && parser.schema.find_field(name).is_some() && parser.may_see(name);
        match name {
            "$or" => Some("or"),
            "$and" => Some("and"),
            "or" if !is_field => Some("or"),
            "and" if !is_field => Some("and"),
            _ => None,
        }
    }

    fn group(&mut self, group: &'static str, list: &str, depth: usize) -> Result<Filter> {
        self.conditions.check_depth(group, depth)?;
        let empty = || Error::invalid(group, "must be a list of objects, each with a condition");
        let mut filters = Vec::new();
        json::elements(list, empty, |object| {
            let mut parts = self.all_of(group, object, depth)?;
            filters.push(match parts.len() {
                0 => return Err(empty()),
                1 => parts.remove(0),
                _ => Filter::And(parts),
            });
            Ok(())
        })?;
        if filters.is_empty() { Err(empty()) } else { Ok(gather(group, filters)) }
    }

    fn field(&mut self, path: &str, value: &str, filters: &mut Vec<Filter>) -> Result<()> {
        let operand = self.conditions.operand(path, path)?;
        self.conditions.check_bytes(path, value.len())?;
        let schema = self.conditions.parser.schema;
        for (name, json) in operators(path, value)? {
            let written = Json { schema, json };
            filters.push(self.conditions.condition(path, operand, operator(&name), &written)?);
        }
        Ok(())
    }
}

/// What a field must be: the operators of an object with what they are given, or a value that it equals.
fn operators<'v>(path: &str, value: &'v str) -> Result<Vec<(String, &'v str)>> {
    let equal = || Ok(vec![("eq".to_owned(), value)]);
    if !value.starts_with('{') {
        return equal();
    }
    let mut operators = Vec::new();
    let wrong = || Error::invalid(path, "must be a value, or an object with operators");
    json::members(value, wrong, |name, value| {
        operators.push((name.to_owned(), value));
        Ok(())
    })?;
    match operators.first() {
        None => Err(Error::invalid(path, "must have an operator, such as {\"gte\": 10}")),
        Some((name, _)) if EXTENDED.contains(&name.as_str()) => equal(),
        Some(_) => Ok(operators),
    }
}

/// An operator by our name, if this is MongoDB's name for one that there is.
fn operator(name: &str) -> &str {
    match name {
        "$eq" => "eq",
        "$ne" => "ne",
        "$gt" => "gt",
        "$gte" => "gte",
        "$lt" => "lt",
        "$lte" => "lte",
        "$in" => "in",
        "$nin" => "nin",
        "$exists" => "exists",
        other => other,
    }
}

/// What stands behind a name, still as text.
struct Json<'a> {
    schema: &'a Schema,
    json: &'a str,
}

impl Written for Json<'_> {
    const MORE_OPERATORS: &'static str = "";

    fn value(&self, path: &str, operand: Operand<'_>) -> Result<Bson> {
        match self.json {
            "null" => Ok(Bson::Null),
            json => operand.read_json(self.schema, path, json),
        }
    }

    fn items(&self, path: &str) -> Result<Vec<impl Written>> {
        let mut items = Vec::new();
        let wrong = || Error::invalid(path, "must be a list of values: {\"in\": [1, 2]}");
        json::elements(self.json, wrong, |json| {
            items.push(Json { schema: self.schema, json });
            Ok(())
        })?;
        Ok(items)
    }

    fn text(&self, path: &str) -> Result<String> {
        text(path, self.json)
    }

    fn truth(&self, path: &str) -> Result<bool> {
        serde_json::from_str(self.json)
            .map_err(|_| Error::invalid(path, "must be {\"exists\": true} or {\"exists\": false}"))
    }
}

fn text(name: &str, json: &str) -> Result<String> {
    serde_json::from_str(json).map_err(|_| Error::invalid(name, "must be a string"))
}

/// The strings of a list, with at most one more than there may be.
fn texts(name: &str, json: &str, most: usize) -> Result<Vec<String>> {
    let wrong = || Error::invalid(name, "must be a list of strings");
    let mut texts = Vec::new();
    json::elements(json, wrong, |element| {
        if texts.len() <= most {
            texts.push(serde_json::from_str(element).map_err(|_| wrong())?);
        }
        Ok(())
    })?;
    Ok(texts)
}
