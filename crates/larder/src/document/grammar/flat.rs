//! Conditions as they stand in a URL: `field=operator.value`, and groups of them in parentheses.

use std::borrow::Cow;

use bson::Bson;

use super::{
    condition::{Conditions, Operand, Written, gather},
    group::{split_list, unquote},
    template::place_in,
};
use crate::{
    Error, Result,
    document::{CompareOp, Filter},
};

/// Reads the conditions of a query string.
pub(super) struct Flat<'a>(pub(super) Conditions<'a>);

impl Flat<'_> {
    /// A parameter that is no setting: a group, or a field with its condition.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Result<Filter> {
        self.0.check_bytes(name, value.len())?;
        match name {
            "or" | "and" => self.group(name, value, 1),
            _ => {
                let operand = self.0.operand(name, name)?;
                self.condition(name, operand, value)
            }
        }
    }

    fn group(&mut self, name: &str, list: &str, depth: usize) -> Result<Filter> {
        self.0.check_depth(name, depth)?;
        let items = split_list(list)
            .ok_or_else(|| Error::invalid(name, "must be a list in parentheses: (field.operator.value,…)"))?;
        let filters =
            items.into_iter().map(|item| self.item(name, item, depth)).collect::<Result<Vec<_>>>()?;
        Ok(gather(name, filters))
    }

    fn item(&mut self, group: &str, item: &str, depth: usize) -> Result<Filter> {
        for inner in ["or", "and"] {
            if let Some(list) = item.strip_prefix(inner).filter(|rest| rest.starts_with('(')) {
                return self.group(inner, list, depth + 1);
            }
        }
        let (path, condition) = self.split(item).ok_or_else(|| {
            let first = item.split('.').next().unwrap_or_default();
            self.0.unfit(group, first)
        })?;
        let operand = self.0.operand(path, path)?;
        self.condition_in_group(path, operand, condition)
    }

    /// The longest declared path in front. Paths and values may both hold points.
    fn split<'t>(&self, item: &'t str) -> Option<(&'t str, &'t str)> {
        let splits = item.match_indices('.').map(|(at, _)| (&item[..at], &item[at + 1..]));
        splits.filter(|(path, _)| *path == "_id" || self.0.parser.schema.find_field(path).is_some()).last()
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
        if self.0.parser.is_template
            && let Some(place) = place_in(path, operator, value)?
        {
            return self.0.condition(path, operand, operator, &place);
        }
        match (operator, value) {
            ("is", "null") => self.0.null(path, CompareOp::Eq),
            ("not", "null") => self.0.null(path, CompareOp::Ne),
            _ => self.0.condition(path, operand, operator, &Text(value.into())),
        }
    }
}

/// What stands behind the operator's point.
struct Text<'a>(Cow<'a, str>);

impl Written for Text<'_> {
    const MORE_OPERATORS: &'static str = ", is.null, not.null";

    fn value(&self, path: &str, operand: Operand<'_>) -> Result<Bson> {
        operand.read_text(path, &self.0)
    }

    fn items(&self, path: &str) -> Result<Vec<impl Written>> {
        let items = split_list(&self.0).and_then(|items| {
            items.into_iter().map(|item| Some(Text(unquote(item)?))).collect::<Option<Vec<_>>>()
        });
        items.ok_or_else(|| Error::invalid(path, "must be a list in parentheses: in.(a,b)"))
    }

    fn text(&self, _path: &str) -> Result<String> {
        Ok(self.0.clone().into_owned())
    }

    fn truth(&self, path: &str) -> Result<bool> {
        self.0.parse().map_err(|_| Error::invalid(path, "must be `exists.true` or `exists.false`"))
    }
}
