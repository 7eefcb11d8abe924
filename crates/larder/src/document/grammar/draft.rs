//! A query in the making: its order, its page and its fields, in whichever grammar they were written.

use super::{Query, QueryLimits, QueryParser};
use crate::{
    Error, Result,
    document::{Direction, Field, Filter, SortKey, ingest, path::is_within},
};

pub(super) const MAX_SORT_KEYS: usize = 4;
pub(super) const MAX_FIELDS: usize = 64;
const MAX_AFTER_BYTES: usize = 8 * 1024;

/// What was understood of a query so far.
pub(super) struct Draft<'a> {
    parser: &'a QueryParser<'a>,
    limits: &'a QueryLimits,
    query: Query,
    /// All of these must hold.
    pub(super) filters: Vec<Filter>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(parser: &'a QueryParser<'a>, limits: &'a QueryLimits) -> Self {
        let query = Query {
            filter: Filter::All,
            sort: Vec::new(),
            limit: limits.default_limit.min(limits.max_limit),
            offset: 0,
            after: None,
            fields: None,
        };
        Self { parser, limits, query, filters: Vec::new() }
    }

    pub(super) fn limit(&mut self, digits: &str) -> Result<()> {
        self.query.limit = number("limit", digits, 1, self.limits.max_limit.into())? as u32;
        Ok(())
    }

    pub(super) fn offset(&mut self, digits: &str) -> Result<()> {
        self.query.offset = number("offset", digits, 0, self.limits.max_offset)?;
        Ok(())
    }

    pub(super) fn after(&mut self, cursor: &str) -> Result<()> {
        if cursor.len() > MAX_AFTER_BYTES {
            return Err(Error::invalid("after", "is too long"));
        }
        self.query.after = Some(cursor.to_owned());
        Ok(())
    }

    pub(super) fn sort<'t>(&mut self, parts: impl IntoIterator<Item = &'t str>) -> Result<()> {
        let mut keys: Vec<SortKey> = Vec::new();
        for part in parts {
            let (path, direction) = match part.strip_prefix('-') {
                Some(path) => (path, Direction::Descending),
                None => (part, Direction::Ascending),
            };
            let declared = self.parser.schema.find_field(path).is_some_and(Field::is_sortable);
            if !(path == "_id" || declared) || !self.parser.may_see(path) {
                return Err(self.parser.fault("sort", path, "cannot be sorted by", Field::is_sortable));
            }
            if keys.iter().any(|key| key.path == path) {
                return Err(Error::invalid("sort", format!("names `{path}` twice")));
            }
            keys.push(SortKey { path: path.to_owned(), direction });
        }
        if keys.len() > MAX_SORT_KEYS {
            return Err(Error::invalid("sort", format!("has more than {MAX_SORT_KEYS} keys")));
        }
        self.query.sort = keys;
        Ok(())
    }

    pub(super) fn fields<'t>(&mut self, paths: impl IntoIterator<Item = &'t str>) -> Result<()> {
        let paths: Vec<&str> = paths.into_iter().collect();
        if paths.len() > MAX_FIELDS {
            return Err(Error::invalid("fields", format!("names more than {MAX_FIELDS} fields")));
        }
        for path in &paths {
            if !(*path == "_id" || self.is_readable(path)) || !self.parser.may_see(path) {
                return Err(Error::invalid(
                    "fields",
                    format!("`{}` is not a field that can be read", ingest::excerpt(path)),
                ));
            }
        }
        self.query.fields = Some(paths.into_iter().map(str::to_owned).collect());
        Ok(())
    }

    /// Declared, above a declared field, or below an object that is free inside; in an open schema any plain path.
    fn is_readable(&self, path: &str) -> bool {
        let schema = self.parser.schema;
        let plain = path.split('.').all(|part| ingest::name_fault(part).is_none());
        let mut fields = schema.fields().iter();
        plain
            && (!schema.is_strict()
                || fields.any(|field| {
                    is_within(field.path(), path)
                        || (field.field_type().is_free() && is_within(path, field.path()))
                }))
    }

    /// The query, now that all of it was read.
    pub(super) fn finish(self) -> Result<Query> {
        let Self { mut query, mut filters, .. } = self;
        if query.after.is_some() && query.offset > 0 {
            return Err(Error::invalid(
                "offset",
                "cannot be combined with `after`, which says where to begin",
            ));
        }
        query.filter = match filters.len() {
            0 => Filter::All,
            1 => filters.remove(0),
            _ => Filter::And(filters),
        };
        Ok(query)
    }
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        digits.then(|| value.parse().ok()).flatten().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Error::invalid(name, format!("must be a number from {least} to {most}")))
}
