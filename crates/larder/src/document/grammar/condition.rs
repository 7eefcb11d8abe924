//! One condition: a field, an operator and a value of the field's type.

use bson::Bson;

use super::{
    QueryLimits, QueryParser,
    group::{split_list, unquote},
};
use crate::{
    Error, Result,
    document::{CompareOp, Field, FieldType, Filter, IdType, ingest::excerpt},
};

const OPERATORS: &str = "eq, ne, gt, gte, lt, lte, in, nin, prefix, exists, is.null, not.null";

/// Reads conditions and counts them.
pub(super) struct Conditions<'a> {
    parser: &'a QueryParser<'a>,
    limits: &'a QueryLimits,
    count: usize,
}

/// What a field's values are read as.
#[derive(Clone, Copy)]
enum Operand<'a> {
    Id(IdType),
    Field(&'a FieldType),
}

impl Operand<'_> {
    fn read(self, path: &str, text: &str) -> Result<Bson> {
        match self {
            Self::Id(id_type) => id_type.parse(text).map(|id| Bson::from(&id)),
            Self::Field(field_type) => field_type.read_text(text).map_err(|error| error.with_field(path)),
        }
    }

    fn is_text(self) -> bool {
        match self {
            Self::Id(id_type) => id_type == IdType::String,
            Self::Field(FieldType::Array(element)) => **element == FieldType::String,
            Self::Field(field_type) => *field_type == FieldType::String,
        }
    }
}

impl<'a> Conditions<'a> {
    pub(super) fn new(parser: &'a QueryParser<'a>, limits: &'a QueryLimits) -> Self {
        Self { parser, limits, count: 0 }
    }

    /// A parameter that is no setting: a group, or a field with its condition.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Result<Filter> {
        if value.len() > self.limits.max_bytes {
            return Err(Error::invalid(
                excerpt(name),
                format!("has more than {} bytes", self.limits.max_bytes),
            ));
        }
        match name {
            "or" | "and" => self.group(name, value, 1),
            _ => {
                let operand = self.operand(name, name)?;
                self.condition(name, operand, value)
            }
        }
    }

    fn operand(&self, at: &str, path: &str) -> Result<Operand<'a>> {
        let schema = self.parser.schema;
        let operand = match schema.find_field(path) {
            _ if path == "_id" => Some(Operand::Id(schema.id_type())),
            Some(field) if field.is_filterable() => Some(Operand::Field(field.field_type())),
            _ => None,
        };
        operand
            .filter(|_| self.parser.may_see(path))
            .ok_or_else(|| self.parser.fault(at, path, "cannot be filtered by", Field::is_filterable))
    }

    fn group(&mut self, name: &str, list: &str, depth: usize) -> Result<Filter> {
        if depth > self.limits.max_depth {
            return Err(Error::invalid(name, format!("is nested more than {} times", self.limits.max_depth)));
        }
        let items = split_list(list)
            .ok_or_else(|| Error::invalid(name, "must be a list in parentheses: (field.operator.value,…)"))?;
        let filters =
            items.into_iter().map(|item| self.item(name, item, depth)).collect::<Result<Vec<_>>>()?;
        Ok(if name == "or" { Filter::Or(filters) } else { Filter::And(filters) })
    }

    fn item(&mut self, group: &str, item: &str, depth: usize) -> Result<Filter> {
        for inner in ["or", "and"] {
            if let Some(list) = item.strip_prefix(inner).filter(|rest| rest.starts_with('(')) {
                return self.group(inner, list, depth + 1);
            }
        }
        let (path, condition) = self.split(item).ok_or_else(|| {
            let first = item.split('.').next().unwrap_or_default();
            self.parser.fault(group, first, "cannot be filtered by", Field::is_filterable)
        })?;
        let operand = self.operand(path, path)?;
        self.condition_in_group(path, operand, condition)
    }

    /// The longest declared path in front. Paths and values may both hold points.
    fn split(&self, item: &'a str) -> Option<(&'a str, &'a str)> {
        let splits = item.match_indices('.').map(|(at, _)| (&item[..at], &item[at + 1..]));
        splits.filter(|(path, _)| *path == "_id" || self.parser.schema.find_field(path).is_some()).last()
    }

    /// In a group a value may be quoted, because commas and parentheses have a meaning there.
    fn condition_in_group(&mut self, path: &str, operand: Operand<'_>, condition: &str) -> Result<Filter> {
        match condition.split_once('.') {
            Some((operator, value)) if !value.starts_with('(') => {
                let value =
                    unquote(value).ok_or_else(|| Error::invalid(path, "has a quote that does not close"))?;
                self.operation(path, operand, operator, &value)
            }
            _ => self.condition(path, operand, condition),
        }
    }

    fn condition(&mut self, path: &str, operand: Operand<'_>, condition: &str) -> Result<Filter> {
        let (operator, value) = condition
            .split_once('.')
            .ok_or_else(|| Error::invalid(path, "must be an operator and a value, such as `eq.value`"))?;
        self.operation(path, operand, operator, value)
    }

    fn operation(&mut self, path: &str, operand: Operand<'_>, operator: &str, value: &str) -> Result<Filter> {
        self.count += 1;
        if self.count > self.limits.max_conditions {
            let message =
                format!("is one condition more than the {} that are allowed", self.limits.max_conditions);
            return Err(Error::invalid(path, message));
        }
        let compare =
            |op| Ok(Filter::Compare { path: path.to_owned(), op, value: operand.read(path, value)? });
        let null = |op| Ok(Filter::Compare { path: path.to_owned(), op, value: Bson::Null });
        match (operator, value) {
            ("eq", _) => compare(CompareOp::Eq),
            ("ne", _) => compare(CompareOp::Ne),
            ("gt", _) => compare(CompareOp::Gt),
            ("gte", _) => compare(CompareOp::Gte),
            ("lt", _) => compare(CompareOp::Lt),
            ("lte", _) => compare(CompareOp::Lte),
            ("in", list) => Ok(Filter::In { path: path.to_owned(), values: self.list(path, operand, list)? }),
            ("nin", list) => {
                Ok(Filter::NotIn { path: path.to_owned(), values: self.list(path, operand, list)? })
            }
            ("prefix", text) if operand.is_text() => {
                Ok(Filter::Prefix { path: path.to_owned(), text: text.to_owned() })
            }
            ("prefix", _) => Err(Error::invalid(path, "has no prefix, because it is not a string")),
            ("exists", "true") => Ok(Filter::Exists { path: path.to_owned(), present: true }),
            ("exists", "false") => Ok(Filter::Exists { path: path.to_owned(), present: false }),
            ("exists", _) => Err(Error::invalid(path, "must be `exists.true` or `exists.false`")),
            ("is", "null") => null(CompareOp::Eq),
            ("not", "null") => null(CompareOp::Ne),
            _ => {
                let message = format!("has no operator `{}`; there are {OPERATORS}", excerpt(operator));
                Err(Error::invalid(path, message))
            }
        }
    }

    fn list(&self, path: &str, operand: Operand<'_>, list: &str) -> Result<Vec<Bson>> {
        let broken = || Error::invalid(path, "must be a list in parentheses: in.(a,b)");
        let items = super::split_list(list).ok_or_else(broken)?;
        if items.len() > self.limits.max_list {
            return Err(Error::invalid(path, format!("lists more than {} values", self.limits.max_list)));
        }
        items.into_iter().map(|item| operand.read(path, &unquote(item).ok_or_else(broken)?)).collect()
    }
}
