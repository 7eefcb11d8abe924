//! `[[collection]]`: what the data API serves, and how it is cached.

use hyper::header::HeaderValue;
use larder::document::{Field, FieldType, IdType, Pipeline, Schema, Variable};

use crate::config::{
    access::{Grant, read_grant},
    partial,
    policy::{CacheSettings, read_onto},
    reader::Reader,
    tags,
};

/// One declared collection.
#[derive(Clone, Debug)]
pub(crate) struct CollectionConfig {
    /// The name in URLs, and of the cache's namespace.
    pub name: String,
    /// What the documents look like. Its name is the collection's name in the database.
    pub schema: Schema,
    /// How it is cached.
    pub cache: CacheSettings,
    /// The date field that is polled where there are no change streams.
    pub poll_updated_at: Option<String>,
    /// The parts of documents that are cached by themselves, with their fields.
    pub partials: Vec<(String, Vec<String>)>,
    /// What documents are tagged with, such as `category:{category}`.
    pub tags: Vec<String>,
    /// What answers tell clients and the caches between about keeping them.
    pub cache_control: String,
    /// Whether a write of a document has to say which state it expects.
    pub require_if_match: bool,
    /// Whether lists that no index carries are refused.
    pub require_index: bool,
    /// Who may do what with it.
    pub grants: Vec<Grant>,
    /// The line of its declaration; 0 if it was not declared in a file.
    pub line: usize,
}

/// A client may keep an answer, alone, and asks each time whether it still holds: one round trip, no body.
const DEFAULT_CACHE_CONTROL: &str = "private, no-cache";

impl CollectionConfig {
    /// A collection that the server itself declares, with the default cache and no grants.
    pub(crate) fn of_schema(schema: Schema, cache: CacheSettings, tags: Vec<String>) -> Self {
        let (name, cache_control) = (schema.name().to_owned(), DEFAULT_CACHE_CONTROL.to_owned());
        Self {
            name,
            schema,
            cache,
            poll_updated_at: None,
            partials: Vec::new(),
            tags,
            cache_control,
            require_if_match: false,
            require_index: false,
            grants: Vec::new(),
            line: 0,
        }
    }
}

/// Reads one `[[collection]]`; `None` when it is too wrong to go on with, which has been reported then.
pub(super) fn read(mut table: Reader<'_>, defaults: &CacheSettings) -> Option<CollectionConfig> {
    let name = require_name(&mut table);
    let stored_as = table.find("stored_as").or_else(|| name.clone());
    let id_type: Option<IdType> = table.require("id");
    let strict = table.get("strict", true);
    let cache = read_onto(&mut table, defaults);
    let cache_control = table.get("cache_control", DEFAULT_CACHE_CONTROL.to_owned());
    if HeaderValue::from_str(&cache_control).is_err() {
        table.report("cache_control", "must be text that can stand in a header");
    }
    let require_if_match = table.get("require_if_match", false);
    let require_index = table.get("require_index", false);
    let poll_updated_at: Option<String> = table.find("poll_updated_at");
    let line = table.line();

    let mut schema =
        Schema::new(stored_as.unwrap_or_default(), id_type.unwrap_or(IdType::String)).strict(strict);
    // Without fields yet, so that this is about the name alone; the fields are checked one by one below.
    if name.is_some()
        && let Err(error) = schema.validate()
    {
        table.report("stored_as", error.message());
    }
    for field in table.tables("field").into_iter().filter_map(read_field) {
        if schema.find_field(field.path()).is_some() {
            table.report("field", format!("\"{}\" is declared twice", field.path()));
        }
        schema = schema.field(field);
    }
    for pipeline in table.tables("query").into_iter().filter_map(read_query) {
        if schema.pipelines().iter().any(|other| other.name() == pipeline.name()) {
            table.report("query", format!("\"{}\" is declared twice", pipeline.name()));
        }
        schema = schema.pipeline(pipeline);
    }
    if let Some(path) = &poll_updated_at {
        check_polled(&table, path, &schema);
    }
    let (tags, tag_fields) = tags::read(&mut table, &schema);
    let partials = partial::read(&mut table, &schema, &tag_fields);
    let grants = table.tables("grant").into_iter().filter_map(|table| read_grant(table, &schema)).collect();
    table.finish();
    Some(CollectionConfig {
        name: name?,
        schema,
        cache,
        poll_updated_at,
        partials,
        tags,
        cache_control,
        require_if_match,
        require_index,
        grants,
        line,
    })
}

/// Whether a field can be polled by: the order of its dates tells what is new.
fn check_polled(table: &Reader<'_>, path: &str, schema: &Schema) {
    let declared = schema.find_field(path);
    if !declared.is_some_and(|field| field.is_sortable() && *field.field_type() == FieldType::Date) {
        let message = format!("\"{path}\" must be declared as a field with type = \"date\" and sort = true");
        table.report("poll_updated_at", message);
    }
}

/// Reads a name that stands in addresses, and so needs no escaping there.
pub(super) fn require_name(table: &mut Reader<'_>) -> Option<String> {
    let name: Option<String> = table.require("name");
    if let Some(fault) = name.as_ref().and_then(|name| name_fault(name)) {
        table.report("name", fault);
    }
    name
}

/// What is wrong with a name that stands in addresses, if anything is.
pub(crate) fn name_fault(name: &str) -> Option<&'static str> {
    let fault = "must be 1 to 64 letters, digits, \"-\" and \"_\", and not begin with \"_\"";
    (!is_plain_name(name)).then_some(fault)
}

fn is_plain_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && !name.starts_with('_') && name.bytes().all(allowed)
}

fn read_field(mut table: Reader<'_>) -> Option<Field> {
    let path: Option<String> = table.require("path");
    if let Some(path) = &path
        && !is_field_path(path)
    {
        table.report(
            "path",
            "must be names joined by dots; a name is not empty and does not begin with \"$\"",
        );
    }
    let field_type: Option<FieldType> = table.require("type");
    let (filter, sort) = (table.get("filter", false), table.get("sort", false));
    let search = table.get("search", false);
    if search && path.as_deref() == Some("_id") {
        table.report("search", "an id has no words; filter by its prefix");
    } else if search && field_type.as_ref().is_some_and(|field_type| !field_type.is_text()) {
        table.report("search", "only a string or an array<string> has words to search for");
    }
    if matches!(field_type, Some(FieldType::Any | FieldType::Object)) && (filter || sort) {
        table.report(
            "type",
            "a field of this type cannot be filtered or sorted; declare the fields inside it",
        );
    }
    if matches!(field_type, Some(FieldType::Array(_))) && sort {
        table.report("sort", "an array cannot be sorted by");
    }
    let mut field = Field::new(path?, field_type?);
    if filter {
        field = field.filterable();
    }
    if sort {
        field = field.sortable();
    }
    if search {
        field = field.searchable();
    }
    if table.get("required", false) {
        field = field.required();
    }
    table.finish();
    Some(field)
}

pub(super) fn is_field_path(path: &str) -> bool {
    path.len() <= 256
        && path.split('.').all(|name| !name.is_empty() && !name.starts_with('$') && !name.contains('\0'))
}

fn read_query(mut table: Reader<'_>) -> Option<Pipeline> {
    let name = require_name(&mut table);
    let stages: Option<String> = table.require("pipeline");
    let mut variables = Vec::new();
    for table in table.tables("var") {
        variables.extend(read_variable(table, &variables));
    }
    let stages = stages.and_then(|stages| {
        let read = serde_json::from_str(&stages);
        read.map_err(|error| table.report("pipeline", format!("must be a JSON array of stages: {error}")))
            .ok()
    });
    let pipeline = name.zip(stages).and_then(|(name, stages)| {
        let built = Pipeline::new(name, stages, variables);
        built.map_err(|error| table.report("pipeline", error.to_string())).ok()
    });
    table.finish();
    pipeline
}

fn read_variable(mut table: Reader<'_>, earlier: &[Variable]) -> Option<Variable> {
    let name = require_name(&mut table);
    if let Some(twice) = earlier.iter().find(|variable| Some(&variable.name) == name.as_ref()) {
        table.report("name", format!("\"{}\" is declared twice", twice.name));
    }
    let field_type: Option<FieldType> = table.require("type");
    let default = table.find_scalar("default").and_then(|text| {
        let value = field_type.as_ref()?.read_text(&text);
        value.map_err(|error| table.report("default", error.message().to_owned())).ok()
    });
    table.finish();
    Some(Variable { name: name?, field_type: field_type?, default })
}
