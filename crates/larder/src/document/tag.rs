//! Tags that documents get from their own fields: `category:{category}`.

use std::collections::BTreeSet;

use bson::spec::ElementType;

use super::{
    FieldType, Schema,
    ingest::excerpt,
    path::{Path, any_leaf},
    raw::{Malformed, Value},
};
use crate::{Error, ErrorKind, Result};

/// The most tags that one document gets from its fields. One that would have more is not cached: a purge of a tag that was
/// left out would miss it.
pub const MAX_DOCUMENT_TAGS: usize = 32;

/// The text of tags, with fields in it.
#[derive(Clone, Debug)]
pub(crate) struct TagTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Field { dotted: String, path: Path },
}

/// A document has more tags than it may, or is no BSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untaggable;

impl From<Malformed> for Untaggable {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl TagTemplate {
    /// Reads a template such as `category:{category}`.
    ///
    /// # Errors
    /// `ErrorKind::Config`: a brace without its other half, or no field at all; naming the field if it is not declared, or has
    /// a type that has more than one text form.
    pub(crate) fn new(template: &str, schema: &Schema) -> Result<Self> {
        let pieces = pieces(template)?;
        let mut fields = 0;
        for piece in &pieces {
            if let Piece::Field { dotted, .. } = piece {
                check_field(dotted, schema)?;
                fields += 1;
            }
        }
        match fields {
            0 => Err(wrong(format!(
                "the tag {} names no field; write one in braces, such as \"category:{{category}}\"",
                excerpt(template)
            ))),
            _ => Ok(Self { pieces }),
        }
    }

    /// The fields that it is made of, `_id` left out.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field { dotted, .. } if dotted != "_id" => Some(dotted.as_str()),
            Piece::Field { .. } | Piece::Text(_) => None,
        })
    }

    /// Adds the tags of a document: one for each element of an array, none if a field has no value.
    fn expand(&self, document: &[u8], tags: &mut BTreeSet<String>) -> Result<(), Untaggable> {
        let mut begun = vec![String::new()];
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => begun.iter_mut().for_each(|tag| tag.push_str(text)),
                Piece::Field { path, .. } => {
                    let values = values(document, path)?;
                    let grown =
                        |tag: &String| values.iter().map(|value| format!("{tag}{value}")).collect::<Vec<_>>();
                    begun = begun.iter().flat_map(grown).collect();
                    if begun.len() > MAX_DOCUMENT_TAGS {
                        return Err(Untaggable);
                    }
                }
            }
        }
        tags.extend(begun);
        Ok(())
    }
}

/// Every tag of a document.
///
/// # Errors
/// It cannot be tagged, and so must not be cached.
pub(crate) fn tags(templates: &[TagTemplate], document: &[u8]) -> Result<Vec<String>, Untaggable> {
    let mut tags = BTreeSet::new();
    for template in templates {
        template.expand(document, &mut tags)?;
    }
    if tags.len() > MAX_DOCUMENT_TAGS { Err(Untaggable) } else { Ok(tags.into_iter().collect()) }
}

impl Schema {
    /// The fields that a template tags documents of this schema by, `_id` left out; see
    /// [`CollectionBuilder::tags`](crate::document::CollectionBuilder::tags).
    ///
    /// # Errors
    /// `ErrorKind::Config` naming what is wrong with it, and the field that is not declared, or not of a fitting type.
    pub fn tag_fields(&self, template: &str) -> Result<Vec<String>> {
        Ok(TagTemplate::new(template, self)?.fields().map(ToOwned::to_owned).collect())
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>> {
    let unpaired = || wrong(format!("the tag {} has a brace without its other half", excerpt(template)));
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let text = &rest[..rest.find(['{', '}']).unwrap_or(rest.len())];
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        rest = &rest[text.len()..];
        if rest.is_empty() {
            break;
        }
        let inside = rest.strip_prefix('{').ok_or_else(unpaired)?;
        let (dotted, after) = inside.split_once('}').ok_or_else(unpaired)?;
        if dotted.contains('{') {
            return Err(unpaired());
        }
        pieces.push(Piece::Field { dotted: dotted.to_owned(), path: Path::new(dotted) });
        rest = after;
    }
    Ok(pieces)
}

fn check_field(dotted: &str, schema: &Schema) -> Result<()> {
    if dotted == "_id" {
        return Ok(());
    }
    let Some(field) = schema.find_field(dotted) else {
        return Err(wrong(format!("{} is not a declared field", excerpt(dotted))).with_field(dotted));
    };
    let element = match field.field_type() {
        FieldType::Array(element) => element,
        single => single,
    };
    match element {
        FieldType::String | FieldType::Int | FieldType::Bool | FieldType::ObjectId => Ok(()),
        _ => Err(wrong(format!(
            "{} cannot be in a tag: only a string, int, bool or objectId, or an array of them, has one text form",
            excerpt(dotted)
        ))
        .with_field(dotted)),
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn values(document: &[u8], path: &Path) -> Result<BTreeSet<String>, Untaggable> {
    let mut values = BTreeSet::new();
    let too_many = any_leaf(document, path, &mut |leaf| {
        if let Some(value) = leaf.value() {
            values.extend(text_of(value)?);
        }
        Ok(values.len() > MAX_DOCUMENT_TAGS)
    })?;
    if too_many { Err(Untaggable) } else { Ok(values) }
}

/// The one text form of a value. Null, and what has another type than was declared, has none.
fn text_of(value: Value<'_>) -> Result<Option<String>, Malformed> {
    Ok(match value.kind {
        ElementType::String => Some(value.text()?.to_owned()),
        ElementType::Int32 => Some(value.int32()?.to_string()),
        ElementType::Int64 => Some(value.int64()?.to_string()),
        // Programs that know one kind of number alone store a declared int so.
        ElementType::Double => whole(value.double()?).map(|number| number.to_string()),
        ElementType::Boolean => Some(value.boolean()?.to_string()),
        ElementType::ObjectId => {
            let bytes: [u8; 12] = value.bytes.try_into().map_err(|_| Malformed)?;
            Some(bson::oid::ObjectId::from_bytes(bytes).to_hex())
        }
        _ => None,
    })
}

fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc, oid::ObjectId};

    use super::*;
    use crate::document::{Field, IdType};

    fn schema() -> Schema {
        let strings = FieldType::Array(Box::new(FieldType::String));
        Schema::new("products", IdType::Int)
            .field(Field::new("category", FieldType::String))
            .field(Field::new("tags", strings))
            .field(Field::new("brand.name", FieldType::String))
            .field(Field::new("org", FieldType::Int))
            .field(Field::new("owner", FieldType::ObjectId))
            .field(Field::new("price", FieldType::Decimal))
            .field(Field::new("variants.sku", FieldType::String))
    }

    fn check(templates: &[&str], document: &Document, expected: Result<&[&str], Untaggable>) {
        let schema = schema();
        let templates: Vec<_> =
            templates.iter().map(|template| TagTemplate::new(template, &schema).unwrap()).collect();
        let raw = RawDocumentBuf::try_from(document).unwrap();
        let found = tags(&templates, raw.as_bytes());
        assert_eq!(found, expected.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect()));
    }

    #[test]
    fn fields_become_tags_by_their_text() {
        let owner = ObjectId::from_bytes([7; 12]);
        let document = doc! {
            "_id": 7_i64, "category": "tea", "tags": ["new", "sale", "new"], "brand": { "name": "Mill" },
            "org": 42.0, "owner": owner, "variants": [{ "sku": "a" }, {}, { "sku": "b" }, 3],
        };
        check(&["category:{category}"], &document, Ok(&["category:tea"]));
        check(&["{tags}"], &document, Ok(&["new", "sale"]));
        check(&["{brand.name}/{tags}!"], &document, Ok(&["Mill/new!", "Mill/sale!"]));
        check(&["org:{org}", "id:{_id}"], &document, Ok(&["id:7", "org:42"]));
        check(&["o:{owner}"], &document, Ok(&["o:070707070707070707070707"]));
        check(&["s:{variants.sku}"], &document, Ok(&["s:a", "s:b"]));
    }

    #[test]
    fn a_field_without_a_value_gives_no_tag() {
        let document = doc! { "_id": 7, "category": null, "tags": [], "org": 1.5, "brand": "Mill" };
        check(&["c:{category}", "{tags}", "org:{org}", "b:{brand.name}"], &document, Ok(&[]));
        check(&["{_id}:{category}"], &document, Ok(&[]));
    }

    #[test]
    fn a_document_with_more_tags_than_it_may_have_is_told_apart() {
        let many: Vec<String> = (0..=MAX_DOCUMENT_TAGS).map(|number| number.to_string()).collect();
        check(&["{tags}"], &doc! { "tags": many.clone() }, Err(Untaggable));
        check(&["{tags}", "x{tags}"], &doc! { "tags": &many[..20] }, Err(Untaggable));
        let variants: Vec<_> = (0..8).map(|number| doc! { "sku": number.to_string() }).collect();
        let squared = doc! { "tags": &many[..8], "variants": variants };
        check(&["{tags}{variants.sku}"], &squared, Err(Untaggable));
    }

    #[test]
    fn a_template_tells_its_fields() {
        let fields = schema().tag_fields("{_id}:{brand.name}/{tags}").unwrap();
        assert_eq!(fields, ["brand.name", "tags"]);
    }

    #[test]
    fn templates_that_cannot_work_are_named() {
        for (template, field, message) in [
            ("sale", None, "names no field"),
            ("", None, "names no field"),
            ("a:{category", None, "a brace without its other half"),
            ("a:category}", None, "a brace without its other half"),
            ("a:{{category}}", None, "a brace without its other half"),
            ("a:{categroy}", Some("categroy"), "categroy is not a declared field"),
            ("a:{}", Some(""), "is not a declared field"),
            ("a:{price}", Some("price"), "price cannot be in a tag"),
        ] {
            let error = schema().tag_fields(template).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Config, field), "{template}: {error}");
            assert!(error.to_string().contains(message), "{template}: {error}");
        }
    }
}
