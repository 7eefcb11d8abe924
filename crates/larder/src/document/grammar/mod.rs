//! The flat grammar of lists in a URL: filters, order, page and fields, typed by the declaration.
//!
//! ```text
//! price=gte.10&status=in.(new,paid)&or=(stock.gt.0,discontinued_at.is.null)&sort=-price,name&limit=20&fields=name,price
//! ```
//!
//! | condition | means |
//! |---|---|
//! | `eq. ne. gt. gte. lt. lte.` and a value | compared by the field's type |
//! | `in.(a,b)` `nin.(a,b)` | one of, none of; a value with a comma stands in double quotes |
//! | `prefix.ab` | a string that begins so |
//! | `exists.true` `exists.false` | the field is there; null counts |
//! | `is.null` `not.null` | null or absent; neither |
//! | `or=(…)` `and=(…)` | groups of `field.operator.value`, which may hold further `or(…)` and `and(…)` |
//!
//! Conditions that are repeated must all hold. Only declared fields that are filterable or sortable may be named, so an
//! operator of the database cannot come in: neither as a value nor as a name.

mod condition;
mod group;

use self::{condition::Conditions, group::split_list};
use super::{Direction, Filter, Find, Position, Schema, SortKey, ingest::excerpt, path::is_within};
use crate::{Error, Result};

/// What a list may ask for at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Documents on a page when the request does not say. Default: 50.
    pub default_limit: u32,
    /// Documents on a page. Default: 1,000.
    pub max_limit: u32,
    /// Documents skipped by `offset`. Default: 10,000.
    pub max_offset: u64,
    /// Conditions in all groups together. Default: 32.
    pub max_conditions: usize,
    /// Groups within groups. Default: 4.
    pub max_depth: usize,
    /// Values of one `in` or `nin`. Default: 100.
    pub max_list: usize,
    /// Bytes of one condition with its value. Default: 4,096.
    pub max_bytes: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            default_limit: 50,
            max_limit: 1_000,
            max_offset: 10_000,
            max_conditions: 32,
            max_depth: 4,
            max_list: 100,
            max_bytes: 4_096,
        }
    }
}

const MAX_SORT_KEYS: usize = 4;
const MAX_FIELDS: usize = 64;
const MAX_AFTER_BYTES: usize = 8 * 1024;

/// A list that was asked for, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which documents.
    pub filter: Filter,
    /// In which order.
    pub sort: Vec<SortKey>,
    /// At most this many.
    pub limit: u32,
    /// Skip this many.
    pub offset: u64,
    /// The sealed cursor to continue behind; see [`CursorKey`](super::CursorKey).
    pub after: Option<String>,
    /// Only these paths.
    pub fields: Option<Vec<String>>,
}

impl Query {
    /// The find that this query asks for, from the beginning or behind `after`.
    pub fn into_find(self, after: Option<Position>) -> Find {
        let Self { filter, sort, limit, offset, after: _, fields } = self;
        Find { filter, sort, after, offset, limit, fields }
    }
}

/// Reads queries over one collection.
///
/// ```
/// use larder::document::{Field, FieldType, IdType, QueryParser, Schema};
/// let schema = Schema::new("products", IdType::Int)
///     .field(Field::new("price", FieldType::Decimal).filterable().sortable());
/// let query = QueryParser::new(&schema).parse([("price", "gte.10"), ("sort", "-price")])?;
/// assert_eq!(query.sort[0].path, "price");
/// let error = QueryParser::new(&schema).parse([("$where", "eq.1")]).unwrap_err();
/// assert_eq!(error.field(), Some("$where"));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct QueryParser<'a> {
    schema: &'a Schema,
    limits: Option<&'a QueryLimits>,
    visible: Option<&'a dyn Fn(&str) -> bool>,
}

impl<'a> QueryParser<'a> {
    /// A parser with the default limits, for someone who may see every declared field.
    pub fn new(schema: &'a Schema) -> Self {
        Self { schema, limits: None, visible: None }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: &'a QueryLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Hides fields: one that may not be seen may not be filtered, sorted or asked for either, as if it were not declared.
    #[must_use]
    pub fn visible(mut self, visible: &'a dyn Fn(&str) -> bool) -> Self {
        self.visible = Some(visible);
        self
    }

    /// Reads name and value pairs, percent-decoded by the caller.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the parameter or field, with what would be right.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Query> {
        let default = QueryLimits::default();
        let limits = self.limits.unwrap_or(&default);
        let mut conditions = Conditions::new(self, limits);
        let mut filters = Vec::new();
        let mut query = Query {
            filter: Filter::All,
            sort: Vec::new(),
            limit: limits.default_limit.min(limits.max_limit),
            offset: 0,
            after: None,
            fields: None,
        };
        let mut settings: Vec<String> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !matches!(name, "sort" | "limit" | "after" | "offset" | "fields") {
                filters.push(conditions.parameter(name, value)?);
                continue;
            }
            if settings.iter().any(|earlier| earlier == name) {
                return Err(Error::invalid(name, "is given twice"));
            }
            settings.push(name.to_owned());
            match name {
                "sort" => query.sort = self.sort(value)?,
                "limit" => query.limit = number(name, value, 1, limits.max_limit.into())? as u32,
                "offset" => query.offset = number(name, value, 0, limits.max_offset)?,
                "fields" => query.fields = Some(self.fields(value)?),
                _ if value.len() > MAX_AFTER_BYTES => return Err(Error::invalid(name, "is too long")),
                _ => query.after = Some(value.to_owned()),
            }
        }
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

    fn may_see(&self, path: &str) -> bool {
        self.visible.is_none_or(|visible| visible(path))
    }

    fn sort(&self, value: &str) -> Result<Vec<SortKey>> {
        let mut keys: Vec<SortKey> = Vec::new();
        for part in value.split(',') {
            let (path, direction) = match part.strip_prefix('-') {
                Some(path) => (path, Direction::Descending),
                None => (part, Direction::Ascending),
            };
            let declared = self.schema.find_field(path).is_some_and(super::Field::is_sortable);
            if !(path == "_id" || declared) || !self.may_see(path) {
                return Err(self.fault("sort", path, "cannot be sorted by", |field| field.is_sortable()));
            }
            if keys.iter().any(|key| key.path == path) {
                return Err(Error::invalid("sort", format!("names `{path}` twice")));
            }
            keys.push(SortKey { path: path.to_owned(), direction });
        }
        if keys.len() > MAX_SORT_KEYS {
            return Err(Error::invalid("sort", format!("has more than {MAX_SORT_KEYS} keys")));
        }
        Ok(keys)
    }

    fn fields(&self, value: &str) -> Result<Vec<String>> {
        let paths: Vec<&str> = value.split(',').collect();
        if paths.len() > MAX_FIELDS {
            return Err(Error::invalid("fields", format!("names more than {MAX_FIELDS} fields")));
        }
        for path in &paths {
            if !(*path == "_id" || self.is_readable(path)) || !self.may_see(path) {
                return Err(Error::invalid(
                    "fields",
                    format!("`{}` is not a field that can be read", excerpt(path)),
                ));
            }
        }
        Ok(paths.into_iter().map(str::to_owned).collect())
    }

    /// Declared, above a declared field, or below an object that is free inside; in an open schema any plain path.
    fn is_readable(&self, path: &str) -> bool {
        let plain = path.split('.').all(|part| super::ingest::name_fault(part).is_none());
        let mut fields = self.schema.fields().iter();
        plain
            && (!self.schema.is_strict()
                || fields.any(|field| {
                    is_within(field.path(), path)
                        || (field.field_type().is_free() && is_within(path, field.path()))
                }))
    }

    /// An error that names a field and the ones that could stand there instead.
    fn fault(&self, at: &str, path: &str, message: &str, could: impl Fn(&super::Field) -> bool) -> Error {
        const MOST_NAMED: usize = 8;
        let fields = self.schema.fields().iter().filter(|field| could(field) && self.may_see(field.path()));
        let paths: Vec<&str> = ["_id"].into_iter().chain(fields.map(super::Field::path)).collect();
        let more = if paths.len() > MOST_NAMED { ", …" } else { "" };
        let named = paths[..paths.len().min(MOST_NAMED)].join(", ");
        let subject = if at == path { String::new() } else { format!("`{}` ", excerpt(path)) };
        Error::invalid(excerpt(at), format!("{subject}{message}; these can: {named}{more}"))
    }
}

impl std::fmt::Debug for QueryParser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryParser").field("collection", &self.schema.name()).finish_non_exhaustive()
    }
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        digits.then(|| value.parse().ok()).flatten().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Error::invalid(name, format!("must be a number from {least} to {most}")))
}

#[cfg(test)]
mod tests;
