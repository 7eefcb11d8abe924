//! The documents that a role may touch: the conditions of its grant, with the claims of a sender in them.

use bson::{Bson, Document, RawDocumentBuf};
use larder::document::{CompareOp, Field, FieldType, Filter, FilterTemplate, MergePatch, Schema};
use serde_json::{Map, Value};

use crate::routes::{Refusal, View};

/// What a grant says of rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    template: FilterTemplate,
    /// The collection's declaration, but that a body need not have what is filled in.
    reading: Schema,
}

impl Rows {
    pub(crate) fn new(template: &FilterTemplate, schema: &Schema) -> Self {
        let optional = |field: &Field| match template.fixed().any(|path| path == field.path()) {
            true => Field::new(field.path(), field.field_type().clone()),
            false => field.clone(),
        };
        let empty = Schema::new(schema.name(), schema.id_type()).strict(schema.is_strict());
        let reading = schema.fields().iter().map(optional).fold(empty, Schema::field);
        Self { template: template.clone(), reading }
    }

    /// The fields that have one value in all of these documents.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = &str> {
        self.template.fixed()
    }

    /// Those of them of which that value is all: of an array it is one element, which says nothing of the others.
    pub(crate) fn fixed_whole(&self) -> impl Iterator<Item = &str> {
        self.fixed().filter(|path| !is_array(&self.reading, path))
    }

    /// How bodies are read.
    pub(crate) fn reading(&self) -> &Schema {
        &self.reading
    }

    /// What a sender of whom this is known may touch.
    ///
    /// # Errors
    /// 403 naming the claim that is missing, or that has a value which cannot be compared with its field.
    pub(crate) fn bind(&self, claims: Option<&Map<String, Value>>) -> Result<Filter, Refusal> {
        let none = Map::new();
        self.template.bind(claims.unwrap_or(&none)).map_err(|error| {
            let claim = error.field().unwrap_or_default();
            let detail = format!("this role needs the claim \"{claim}\" here, which {}", error.message());
            Refusal::forbidden(detail)
        })
    }
}

/// Gives a new document what all documents that match have, where it says nothing of it. An array that its sender may not
/// write (`writes`) has that and nothing else.
///
/// # Errors
/// 403 if it does not match then, naming the field that says something else, if it is one.
pub(crate) fn fill(
    rows: &Filter,
    schema: &Schema,
    writes: &View,
    document: &mut Document,
) -> Result<(), Refusal> {
    if *rows == Filter::All {
        return Ok(());
    }
    let mut demanded = rows.clone();
    for (path, value) in rows.fixed() {
        if !is_array(schema, path) {
            insert_if_absent(document, path, value.clone());
            continue;
        }
        let filled = elements(rows, path);
        insert_if_absent(document, path, filled.clone());
        if !writes.sees(path) {
            demanded = demanded.and(equal(path, &filled));
        }
    }
    let raw = RawDocumentBuf::try_from(&*document)
        .map_err(|_| Refusal::invalid("body", "cannot be written as BSON"))?;
    if demanded.matches(&raw)? {
        return Ok(());
    }
    for (path, value) in demanded.fixed() {
        if !equal(path, value).matches(&raw)? {
            return Err(outside(Some(path)));
        }
    }
    Err(outside(None))
}

/// What every array there has.
fn elements(rows: &Filter, path: &str) -> Bson {
    let here = rows.fixed().into_iter().filter(|(fixed, _)| *fixed == path);
    Bson::Array(here.map(|(_, value)| value.clone()).collect())
}

fn equal(path: &str, value: &Bson) -> Filter {
    Filter::Compare { path: path.to_owned(), op: CompareOp::Eq, value: value.clone() }
}

fn is_array(schema: &Schema, path: &str) -> bool {
    schema.find_field(path).is_some_and(|field| matches!(field.field_type(), FieldType::Array(_)))
}

fn insert_if_absent(document: &mut Document, path: &str, value: Bson) {
    match path.split_once('.') {
        None => {
            document.entry(path).or_insert(value);
        }
        Some((first, rest)) => {
            if let Bson::Document(inner) = document.entry(first).or_insert_with(|| Document::new().into()) {
                insert_if_absent(inner, rest, value);
            }
        }
    }
}

/// 403: a patch would leave a document that its sender may not touch.
pub(crate) fn refuse_patch(rows: &Filter, patch: &MergePatch) -> Refusal {
    outside(rows.fixed().into_iter().map(|(path, _)| path).find(|path| patch.touches(path)))
}

fn outside(field: Option<&str>) -> Refusal {
    match field {
        Some(path) => Refusal::forbidden("this role may not give this field another value").with_field(path),
        None => Refusal::forbidden("this role may not have such a document"),
    }
}
