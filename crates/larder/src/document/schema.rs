//! What a collection declares: its id, its fields and their types, and what may be filtered, sorted and searched.

use std::{collections::HashSet, sync::OnceLock};

use crate::{
    Error, ErrorKind, Result,
    document::{
        IdType,
        ingest::{Shape, excerpt, name_fault},
        pipeline::Pipeline,
    },
};

/// The longest name of a collection; MongoDB allows 255 bytes for database and collection together.
const MAX_NAME_BYTES: usize = 120;

/// The declared type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// A 32- or 64-bit integer.
    Int,
    /// A 64-bit float. A plain JSON integer becomes one; integers that name their type are kept as they are.
    Double,
    /// An exact decimal (Decimal128).
    Decimal,
    /// True or false.
    Bool,
    /// An instant with milliseconds.
    Date,
    /// An ObjectId.
    ObjectId,
    /// A nested document with fields of its own; declare those by their dotted paths.
    Object,
    /// An array whose elements have one type.
    Array(Box<FieldType>),
    /// Anything; cannot be filtered, sorted or searched.
    Any,
}

impl FieldType {
    /// Whether there are words in it: a string, or an array of strings.
    pub fn is_text(&self) -> bool {
        match self {
            Self::String => true,
            Self::Array(element) => **element == Self::String,
            _ => false,
        }
    }

    /// Whether anything may stand below it without a declaration.
    pub(crate) fn is_free(&self) -> bool {
        match self {
            Self::Object | Self::Any => true,
            Self::Array(element) => element.is_free(),
            _ => false,
        }
    }
}

/// One declared field. The path is dotted for nested fields: `maker.country`.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) path: String,
    pub(crate) field_type: FieldType,
    pub(crate) filter: bool,
    pub(crate) sort: bool,
    pub(crate) search: bool,
    pub(crate) required: bool,
}

impl Field {
    /// A field that may be present, and neither filtered, sorted nor searched by.
    pub fn new(path: impl Into<String>, field_type: FieldType) -> Self {
        Self { path: path.into(), field_type, filter: false, sort: false, search: false, required: false }
    }
    /// Allows filters on this field.
    #[must_use]
    pub fn filterable(mut self) -> Self {
        self.filter = true;
        self
    }
    /// Allows sorting by this field. An array sorts by its smallest element, or descending by its largest.
    #[must_use]
    pub fn sortable(mut self) -> Self {
        self.sort = true;
        self
    }
    /// Allows searches for words in this field, which is a string or an array of strings; see
    /// [`Filter::Text`](super::Filter::Text). SQLite keeps an index of the words, which makes writes of the text many times
    /// dearer; in MongoDB [`Collection::ensure_indexes`](super::Collection::ensure_indexes) makes a text index.
    #[must_use]
    pub fn searchable(mut self) -> Self {
        self.search = true;
        self
    }
    /// Refuses documents without this field.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// The dotted path.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// The declared type.
    pub fn field_type(&self) -> &FieldType {
        &self.field_type
    }
    /// Whether filters may name this field.
    pub fn is_filterable(&self) -> bool {
        self.filter
    }
    /// Whether sorts may name this field.
    pub fn is_sortable(&self) -> bool {
        self.sort
    }
    /// Whether searches for words may name this field.
    pub fn is_searchable(&self) -> bool {
        self.search
    }
    /// Whether every document must have this field.
    pub fn is_required(&self) -> bool {
        self.required
    }
}

/// The declaration of one collection.
///
/// ```
/// use larder::document::{Field, FieldType, IdType, Schema};
/// let products = Schema::new("products", IdType::Int)
///     .field(Field::new("name", FieldType::String).required())
///     .field(Field::new("price", FieldType::Decimal).filterable().sortable());
/// assert!(products.find_field("price").is_some_and(Field::is_sortable));
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) name: String,
    pub(crate) id_type: IdType,
    pub(crate) fields: Vec<Field>,
    pub(crate) pipelines: Vec<Pipeline>,
    strict: bool,
    /// The fields as a tree, made on first use.
    shape: OnceLock<Shape>,
}

impl Schema {
    /// A collection with this name and this kind of id, and no fields declared yet. In SQLite another collection has a name that differs
    /// in more than case; one that does not is refused by its first call, with `ErrorKind::Config`.
    pub fn new(name: impl Into<String>, id_type: IdType) -> Self {
        Self {
            name: name.into(),
            id_type,
            fields: Vec::new(),
            pipelines: Vec::new(),
            strict: true,
            shape: OnceLock::new(),
        }
    }
    /// Whether documents from outside, and those that [`Collection::insert`](super::Collection::insert) takes, may only have
    /// declared fields. Default: true.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }
    /// Whether documents from outside may only have declared fields.
    pub fn is_strict(&self) -> bool {
        self.strict
    }
    pub(crate) fn shape(&self) -> &Shape {
        self.shape.get_or_init(|| Shape::of(self))
    }
    /// Declares a field.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self.shape = OnceLock::new();
        self
    }
    /// Declares a named aggregation.
    #[must_use]
    pub fn pipeline(mut self, pipeline: Pipeline) -> Self {
        self.pipelines.push(pipeline);
        self
    }
    /// The collection's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The kind of `_id` its documents have.
    pub fn id_type(&self) -> IdType {
        self.id_type
    }
    /// The declared fields, in the order of their declaration.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
    /// The declared field with this dotted path.
    pub fn find_field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }
    /// The named aggregations.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// Whether the declaration can work, whatever the database.
    ///
    /// # Errors
    /// `ErrorKind::Config` naming the collection or the field: a name that MongoDB does not take, a path that is declared
    /// twice or cannot be walked, a searchable field that is no text, two pipelines of one name.
    pub fn validate(&self) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let name = &self.name;
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || !name.bytes().all(plain)
            || name.starts_with("system.")
        {
            let message = "a collection's name has 1 to 120 letters, digits and `_-.`, and does not begin with `system.`";
            return Err(
                Error::new(ErrorKind::Config, message).context(format!("collection {}", excerpt(name)))
            );
        }
        self.validate_parts().map_err(|error| error.context(format!("collection {name}")))
    }

    fn validate_parts(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for field in &self.fields {
            let path = excerpt(&field.path);
            if let Some(fault) = field.path.split('.').find_map(name_fault) {
                return Err(Error::new(ErrorKind::Config, format!("field {path}: {fault}")));
            }
            if !seen.insert(&field.path) {
                return Err(Error::new(ErrorKind::Config, format!("field {path} is declared twice")));
            }
            if field.search && field.path == "_id" {
                let message =
                    "field _id has no words to search for: it is read by, or filtered by its prefix";
                return Err(Error::new(ErrorKind::Config, message));
            }
            if field.search && !field.field_type.is_text() {
                let message = format!(
                    "field {path} has no words to search for: it is neither a string nor an array of strings"
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        let mut seen = HashSet::new();
        match self.pipelines.iter().find(|pipeline| !seen.insert(pipeline.name())) {
            Some(twice) => Err(Error::new(
                ErrorKind::Config,
                format!("pipeline {} is declared twice", excerpt(twice.name())),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let schema = |name: &str| Schema::new(name, IdType::Int);
        let field = |path: &str| Field::new(path, FieldType::Int);
        schema("shop.things-2").field(field("a")).field(field("a.b")).validate().unwrap();
        let cases = [
            (schema(""), "1 to 120 letters"),
            (schema("a$b"), "1 to 120 letters"),
            (schema("system.users"), "1 to 120 letters"),
            (schema("x").field(field("a.")), "field a.: a field name cannot be empty"),
            (schema("x").field(field("a.$b")), "field a.$b: a field name cannot begin with `$`"),
            (schema("x").field(field("a")).field(field("a")), "field a is declared twice"),
            (schema("x").field(field("a").searchable()), "field a has no words to search for"),
            (schema("x").field(Field::new("_id", FieldType::String).searchable()), "field _id has no words"),
        ];
        for (schema, message) in cases {
            let error = schema.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
