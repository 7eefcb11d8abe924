//! Filters with places that each request fills: `tenant=eq.{tenant}`.

use std::collections::BTreeSet;

use bson::Bson;
use serde_json::{Map, Value};

use super::{
    Conditions, Flat, QueryLimits, QueryParser,
    condition::{Operand, Written},
};
use crate::{
    Error, Result,
    document::{
        FieldType, Filter, IdType, Schema,
        ingest::{id_of, integer},
    },
};

/// The longest name of a place: names that are addresses fit.
const MAX_NAME_BYTES: usize = 256;

/// The conditions of a list with places in them, typed by the declaration. A place is the whole value of a condition, `{name}`;
/// what comes into it is a value, whatever its text looks like.
///
/// Every declared field of a plain type may be named, whether lists may filter by it or not. Cheap to bind: nothing is parsed.
///
/// ```
/// use larder::document::{CompareOp, Field, FieldType, Filter, FilterTemplate, IdType, Schema};
/// let schema = Schema::new("orders", IdType::Int).field(Field::new("tenant", FieldType::String));
/// let template = FilterTemplate::new(&schema, &["tenant=eq.{tenant}"])?;
/// let claims = serde_json::json!({ "tenant": "acme" });
/// let bound = template.bind(claims.as_object().expect("an object"))?;
/// assert_eq!(bound, Filter::Compare { path: "tenant".into(), op: CompareOp::Eq, value: "acme".into() });
/// assert_eq!(template.bind(&Default::default()).unwrap_err().field(), Some("tenant"));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilterTemplate {
    /// A place stands there as a value that no field can be declared to have; in a prefix, which is text, in its braces.
    filter: Filter,
    schema: Schema,
    max_list: usize,
}

impl FilterTemplate {
    /// Reads the conditions, which must all hold: `field=operator.value`, or a group, as in a list's address but not escaped.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the field that is not declared or cannot be compared, or that has an unknown operator, a
    /// value of another type, or a brace that is no place of its own.
    pub fn new(schema: &Schema, conditions: &[impl AsRef<str>]) -> Result<Self> {
        let limits = QueryLimits::default();
        let parser = QueryParser { schema, limits: None, visible: None, is_template: true };
        let mut reading = Flat(Conditions::new(&parser, &limits));
        let mut filter = Filter::All;
        for condition in conditions {
            let (name, value) = condition.as_ref().split_once('=').ok_or_else(|| {
                let message = "must be a field, an operator and a value, such as `tenant=eq.{tenant}`";
                Error::invalid(super::excerpt(condition.as_ref()), message)
            })?;
            filter = filter.and(reading.parameter(name, value)?);
        }
        Ok(Self { filter, schema: schema.clone(), max_list: limits.max_list })
    }

    /// The fields that it compares, each once; not those of which it looks at the words alone.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.filter.paths_of(|condition| !matches!(condition, Filter::Text { .. })).into_iter()
    }

    /// The fields whose words it looks for, each once.
    pub fn searched(&self) -> impl Iterator<Item = &str> {
        self.filter.paths_of(|condition| matches!(condition, Filter::Text { .. })).into_iter()
    }

    /// Those of its fields that every document that matches has with one value, see [`Filter::fixed`].
    pub fn fixed(&self) -> impl Iterator<Item = &str> {
        self.filter.fixed().into_iter().map(|(path, _)| path)
    }

    /// The names of its places, each once.
    pub fn places(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        collect_places(&self.filter, &mut names);
        names
    }

    /// The filter with a value in each place: a single one of the field's type, or after `in` and `nin` a list of them. A date,
    /// an ObjectId or a decimal may stand as text.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming the place whose value is absent, null, of another type, or an empty or overlong list; never
    /// the value.
    pub fn bind(&self, values: &Map<String, Value>) -> Result<Filter> {
        self.bind_part(&self.filter, values)
    }

    fn bind_part(&self, part: &Filter, values: &Map<String, Value>) -> Result<Filter> {
        let all =
            |parts: &[Filter]| parts.iter().map(|part| self.bind_part(part, values)).collect::<Result<_>>();
        Ok(match part {
            Filter::And(parts) => Filter::And(all(parts)?),
            Filter::Or(parts) => Filter::Or(all(parts)?),
            Filter::Compare { path, op, value: Bson::JavaScriptCode(name) } => {
                Filter::Compare { path: path.clone(), op: *op, value: self.single(path, name, values)? }
            }
            Filter::In { path, values: list } => {
                Filter::In { path: path.clone(), values: self.list(path, list, values)? }
            }
            Filter::NotIn { path, values: list } => {
                Filter::NotIn { path: path.clone(), values: self.list(path, list, values)? }
            }
            Filter::Prefix { path, text } if text.starts_with('{') => {
                Filter::Prefix { path: path.clone(), text: prefix(&text[1..text.len() - 1], values)? }
            }
            fixed => fixed.clone(),
        })
    }

    fn single(&self, path: &str, name: &str, values: &Map<String, Value>) -> Result<Bson> {
        self.read(path, name, given(name, values)?)
    }

    fn list(&self, path: &str, list: &[Bson], values: &Map<String, Value>) -> Result<Vec<Bson>> {
        let [Bson::JavaScriptCode(name)] = list else { return Ok(list.to_vec()) };
        let Value::Array(items) = given(name, values)? else {
            return Err(Error::invalid(name, "must be a list"));
        };
        match items.len() {
            0 => Err(Error::invalid(name, "must not be an empty list")),
            length if length > self.max_list => {
                Err(Error::invalid(name, format!("must have at most {} values", self.max_list)))
            }
            _ => items.iter().map(|item| self.read(path, name, item)).collect(),
        }
    }

    fn read(&self, path: &str, name: &str, value: &Value) -> Result<Bson> {
        let (read, demand) = match Operand::of(&self.schema, path) {
            Some(Operand::Id(id_type)) => (read_id(id_type, value), "must be an id of the collection's kind"),
            Some(Operand::Field(field_type)) => (read_json(field_type, value), element(field_type).demand()),
            None => (None, "cannot be compared"),
        };
        read.ok_or_else(|| Error::invalid(name, demand))
    }
}

/// The place that a value is, if it is one.
///
/// # Errors
/// There is a brace, and no place, or not for this operator.
pub(super) fn place_in(path: &str, operator: &str, value: &str) -> Result<Option<Place>> {
    if !value.contains(['{', '}']) {
        return Ok(None);
    }
    let inside = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let name = inside.filter(|name| {
        (1..=MAX_NAME_BYTES).contains(&name.len())
            && !name.contains(|c: char| "{}".contains(c) || c.is_control())
    });
    let name = name.ok_or_else(|| {
        Error::invalid(
            path,
            "has a brace that is not around the whole value; write `{name}`, and nothing beside it",
        )
    })?;
    if matches!(operator, "is" | "not" | "text") {
        return Err(Error::invalid(path, format!("takes no `{{name}}` with `{operator}`")));
    }
    Ok(Some(Place(name.to_owned())))
}

/// A place, as the conditions of a template hold it.
#[derive(Clone)]
pub(super) struct Place(String);

impl Written for Place {
    const MORE_OPERATORS: &'static str = "";

    fn value(&self, _path: &str, _operand: Operand<'_>) -> Result<Bson> {
        Ok(Bson::JavaScriptCode(self.0.clone()))
    }

    fn items(&self, _path: &str) -> Result<Vec<impl Written>> {
        Ok(vec![self.clone()])
    }

    fn text(&self, _path: &str) -> Result<String> {
        Ok(["{", self.0.as_str(), "}"].concat())
    }

    fn truth(&self, path: &str) -> Result<bool> {
        Err(Error::invalid(path, "takes no `{name}` with `exists`"))
    }
}

fn collect_places<'a>(part: &'a Filter, names: &mut BTreeSet<&'a str>) {
    match part {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| collect_places(part, names)),
        Filter::Compare { value: Bson::JavaScriptCode(name), .. } => {
            names.insert(name);
        }
        Filter::In { values, .. } | Filter::NotIn { values, .. } => {
            if let [Bson::JavaScriptCode(name)] = values.as_slice() {
                names.insert(name);
            }
        }
        Filter::Prefix { text, .. } if text.starts_with('{') => {
            names.insert(&text[1..text.len() - 1]);
        }
        Filter::All
        | Filter::Compare { .. }
        | Filter::Exists { .. }
        | Filter::Prefix { .. }
        | Filter::Text { .. } => {}
    }
}

fn given<'a>(name: &str, values: &'a Map<String, Value>) -> Result<&'a Value> {
    match values.get(name) {
        None | Some(Value::Null) => Err(Error::invalid(name, "is missing")),
        Some(value) => Ok(value),
    }
}

/// Every text begins with the empty one, so that one limits nothing.
fn prefix(name: &str, values: &Map<String, Value>) -> Result<String> {
    match given(name, values)? {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Error::invalid(name, "must be a string that is not empty")),
    }
}

fn element(field_type: &FieldType) -> &FieldType {
    match field_type {
        FieldType::Array(element) => element,
        single => single,
    }
}

/// An id in plain JSON: an object is no claim that can be compared.
fn read_id(id_type: IdType, value: &Value) -> Option<Bson> {
    let id = if value.is_object() { None } else { id_of(id_type, value).ok() };
    id.map(|id| Bson::from(&id))
}

/// A value of the declared type, or of its elements' type, and no other that could be made one.
fn read_json(field_type: &FieldType, value: &Value) -> Option<Bson> {
    let field_type = element(field_type);
    match (field_type, value) {
        (FieldType::String, Value::String(text)) => Some(Bson::String(text.clone())),
        (FieldType::Bool, Value::Bool(truth)) => Some(Bson::Boolean(*truth)),
        (FieldType::Int, Value::Number(number)) => number.as_i64().map(integer),
        (FieldType::Double, Value::Number(number)) => number.as_f64().map(Bson::Double),
        (FieldType::Decimal, Value::Number(number)) => field_type.read_text(&number.to_string()).ok(),
        (FieldType::Decimal | FieldType::Date | FieldType::ObjectId, Value::String(text)) => {
            field_type.read_text(text).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{CompareOp, Field};

    fn schema() -> Schema {
        Schema::new("orders", IdType::String)
            .field(Field::new("tenant", FieldType::String))
            .field(Field::new("level", FieldType::Int))
            .field(Field::new("note", FieldType::String))
            .field(Field::new("price", FieldType::Decimal))
            .field(Field::new("made", FieldType::Date))
            .field(Field::new("tags", FieldType::Array(Box::new(FieldType::String))))
            .field(Field::new("maker", FieldType::Object))
            .field(Field::new("maker.public", FieldType::Bool))
    }

    fn bind(condition: &str, values: Value) -> Result<Filter> {
        let Value::Object(values) = values else { panic!("an object") };
        FilterTemplate::new(&schema(), &[condition])?.bind(&values)
    }

    fn compare(path: &str, op: CompareOp, value: impl Into<Bson>) -> Filter {
        Filter::Compare { path: path.to_owned(), op, value: value.into() }
    }

    #[test]
    fn places_are_filled_with_values_of_the_fields_type() {
        let decimal = Bson::Decimal128("1.50".parse().unwrap());
        for (condition, values, expected) in [
            ("tenant=eq.{t}", json!({ "t": "in.(a,b)" }), compare("tenant", CompareOp::Eq, "in.(a,b)")),
            (
                "tenant=ne.{https://a.b/t}",
                json!({ "https://a.b/t": "{x}" }),
                compare("tenant", CompareOp::Ne, "{x}"),
            ),
            ("_id=eq.{sub}", json!({ "sub": "u1" }), compare("_id", CompareOp::Eq, "u1")),
            ("level=gte.{level}", json!({ "level": 3 }), compare("level", CompareOp::Gte, 3)),
            ("price=lt.{most}", json!({ "most": "1.50" }), compare("price", CompareOp::Lt, decimal)),
            (
                "made=gt.1970-01-01T00:00:00Z",
                json!({}),
                compare("made", CompareOp::Gt, bson::DateTime::from_millis(0)),
            ),
            ("tags=eq.{t}", json!({ "t": "a" }), compare("tags", CompareOp::Eq, "a")),
            (
                "tenant=in.{all}",
                json!({ "all": ["a", "b"] }),
                Filter::In { path: "tenant".into(), values: vec!["a".into(), "b".into()] },
            ),
            (
                "tenant=prefix.{org}",
                json!({ "org": "a" }),
                Filter::Prefix { path: "tenant".into(), text: "a".into() },
            ),
            (
                "or=(maker.public.eq.true,tenant.eq.{t})",
                json!({ "t": "a)" }),
                Filter::Or(vec![
                    compare("maker.public", CompareOp::Eq, true),
                    compare("tenant", CompareOp::Eq, "a)"),
                ]),
            ),
        ] {
            assert_eq!(bind(condition, values).unwrap(), expected, "{condition}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_and_not_told() {
        let many: Vec<String> = (0..=QueryLimits::default().max_list).map(|n| n.to_string()).collect();
        for (condition, value, message) in [
            ("tenant=eq.{t}", json!({}), "is missing"),
            ("tenant=eq.{t}", json!({ "t": null }), "is missing"),
            ("tenant=eq.{t}", json!({ "T": "secret" }), "is missing"),
            ("tenant=eq.{t}", json!({ "t": 5 }), "must be a string"),
            ("tenant=eq.{t}", json!({ "t": ["secret"] }), "must be a string"),
            ("tenant=eq.{t}", json!({ "t": { "$ne": "" } }), "must be a string"),
            ("tenant=in.{t}", json!({ "t": "secret" }), "must be a list"),
            ("tenant=in.{t}", json!({ "t": [] }), "empty"),
            ("tenant=nin.{t}", json!({ "t": [] }), "empty"),
            ("tenant=in.{t}", json!({ "t": ["a", ["secret"]] }), "must be a string"),
            ("tenant=in.{t}", json!({ "t": many }), "at most 100"),
            ("tenant=prefix.{t}", json!({ "t": "" }), "not empty"),
            ("level=eq.{t}", json!({ "t": "3" }), "must be an integer"),
            ("level=eq.{t}", json!({ "t": 1.5 }), "must be an integer"),
            ("made=eq.{t}", json!({ "t": "secret" }), "must be a date"),
            ("_id=eq.{t}", json!({ "t": "" }), "an id"),
            ("or=(tenant.eq.a,level.eq.{t})", json!({}), "is missing"),
        ] {
            let error = bind(condition, value).unwrap_err();
            assert_eq!(error.field(), Some("t"), "{condition}: {error}");
            assert!(error.message().contains(message) && !error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_condition_is_refused() {
        for (condition, field, message) in [
            ("tenant", "tenant", "must be a field, an operator and a value"),
            ("tennant=eq.a", "tennant", "cannot be filtered by"),
            ("maker=eq.a", "maker", "cannot be filtered by"),
            ("$where=eq.a", "$where", "cannot be filtered by"),
            ("tenant=like.{t}", "tenant", "no operator `like`"),
            ("tenant=eq.a{t}", "tenant", "brace"),
            ("tenant=eq.{t", "tenant", "brace"),
            ("tenant=eq.{}", "tenant", "brace"),
            ("tenant=eq.{{t}}", "tenant", "brace"),
            ("tenant=in.(a,{t})", "tenant", "brace"),
            ("tenant=exists.{t}", "tenant", "takes no `{name}`"),
            ("tenant=text.{t}", "tenant", "takes no `{name}`"),
            ("level=eq.x", "level", "must be an integer"),
            ("level=prefix.{t}", "level", "has no prefix"),
        ] {
            let error = FilterTemplate::new(&schema(), &[condition]).unwrap_err();
            assert_eq!(error.field(), Some(field), "{condition}: {error}");
            assert!(error.message().contains(message), "{condition}: {error}");
        }
    }

    #[test]
    fn a_template_tells_its_fields_and_places() {
        let conditions =
            ["tenant=eq.{t}", "or=(tags.in.{g},_id.prefix.{t},level.gt.{n},tags.text.a)", "note=text.b"];
        let template = FilterTemplate::new(&schema(), &conditions).unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["_id", "level", "tags", "tenant"]);
        assert_eq!(template.searched().collect::<Vec<_>>(), ["note", "tags"]);
        assert_eq!(template.fixed().collect::<Vec<_>>(), ["tenant"]);
        assert_eq!(template.places().into_iter().collect::<Vec<_>>(), ["g", "n", "t"]);
    }
}
