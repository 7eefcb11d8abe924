//! The grammars of lists: filters, order, page and fields, typed by the declaration. The flat one stands in a URL:
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
//! | `text.red shoes` | each of these words is in it, whole and in any case; for fields that are searchable |
//! | `exists.true` `exists.false` | the field is there; null counts |
//! | `is.null` `not.null` | null or absent; neither |
//! | `or=(…)` `and=(…)` | groups of `field.operator.value`, which may hold further `or(…)` and `and(…)` |
//!
//! Conditions that are repeated must all hold. The other is JSON, for filters that are too long for a URL or nested deeper than
//! one likes to write there; it means the same:
//!
//! ```json
//! {"filter": {"price": {"gte": 10}, "status": {"in": ["new", "paid"]}, "or": [{"stock": {"gt": 0}}, {"discontinued_at": null}]},
//!  "sort": ["-price", "name"], "limit": 20, "fields": ["name", "price"]}
//! ```
//!
//! | in an object | means |
//! |---|---|
//! | `"a": value` | equal; null: null or absent |
//! | `"a": {"gte": 1, "lt": 9}` | operators of the flat grammar by their names; MongoDB's names for them (`$gte`) are taken as well |
//! | `"or": [{…}, {…}]` `"and": […]` | groups; also `$or`, `$and` |
//!
//! Values are JSON of the field's type, as in documents. A field that is called `or` or `and` is compared as any other: a group
//! is a list, and no field is compared with a list. In the flat grammar it is named inside of a group: `and=(or.eq.1)`.
//!
//! Only declared fields that are filterable, sortable or searchable may be named, so an
//! operator of the database cannot come in: neither as a value nor as a name.

mod body;
mod condition;
mod draft;
mod flat;
mod group;
mod json;
mod template;

pub use self::template::FilterTemplate;
use self::{condition::Conditions, draft::Draft, flat::Flat};
use super::{Filter, Find, Position, Schema, SortKey, ingest::excerpt};
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
    /// Every declared field may be named, and `{name}` stands for a value that is not known yet.
    is_template: bool,
}

impl<'a> QueryParser<'a> {
    /// A parser with the default limits, for someone who may see every declared field.
    pub fn new(schema: &'a Schema) -> Self {
        Self { schema, limits: None, visible: None, is_template: false }
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
        let mut conditions = Flat(Conditions::new(self, limits));
        let mut draft = Draft::new(self, limits);
        let mut settings: Vec<String> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if !matches!(name, "sort" | "limit" | "after" | "offset" | "fields") {
                draft.filters.push(conditions.parameter(name, value)?);
                continue;
            }
            if settings.iter().any(|earlier| earlier == name) {
                return Err(Error::invalid(name, "is given twice"));
            }
            settings.push(name.to_owned());
            match name {
                "sort" => draft.sort(value.split(','))?,
                "limit" => draft.limit(value)?,
                "offset" => draft.offset(value)?,
                "fields" => draft.fields(value.split(','))?,
                _ => draft.after(value)?,
            }
        }
        draft.finish()
    }

    /// Reads a JSON object with the same parts: `filter`, `sort`, `limit`, `offset`, `after` and `fields`. What means the same
    /// as the pairs of [`parse`](Self::parse) becomes the same query, so a cursor of one opens in the other.
    ///
    /// Its cost is bounded by the limits, but for looking through the text a few times: the caller bounds its length.
    ///
    /// ```
    /// use larder::document::{Field, FieldType, IdType, QueryParser, Schema};
    /// let schema = Schema::new("products", IdType::Int)
    ///     .field(Field::new("name", FieldType::String).filterable())
    ///     .field(Field::new("price", FieldType::Decimal).filterable().sortable());
    /// let parser = QueryParser::new(&schema);
    /// let query = parser.parse_body(
    ///     br#"{"filter": {"price": {"gte": 10, "lt": 50.5}, "or": [{"name": "Cup"}, {"name": null}]}, "sort": ["-price"]}"#,
    /// )?;
    /// let same = [("price", "gte.10"), ("price", "lt.50.5"), ("or", "(name.eq.Cup,name.is.null)"), ("sort", "-price")];
    /// assert_eq!(query, parser.parse(same)?);
    /// let error = parser.parse_body(br#"{"filter": {"name": {"$regex": ".*"}}}"#).unwrap_err();
    /// assert_eq!(error.field(), Some("name"));
    /// # Ok::<(), larder::Error>(())
    /// ```
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the member or field that is wrong, unknown or given twice, with what would be right; naming
    /// none for text that is not JSON.
    pub fn parse_body(&self, json: &[u8]) -> Result<Query> {
        let default = QueryLimits::default();
        body::read(self, self.limits.unwrap_or(&default), json)
    }

    fn may_see(&self, path: &str) -> bool {
        self.visible.is_none_or(|visible| visible(path))
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

#[cfg(test)]
mod tests;
