//! The field that says which document one is, in files that do not call it `_id`.

use std::borrow::Cow;

use crate::members::Members;

/// The same document with this field as its `_id`, in front, and without the field. What is no JSON object comes back as it is:
/// its reader says what is wrong.
///
/// # Errors
/// That the document has no such field, or an `_id` besides.
pub(super) fn moved<'a>(json: &'a [u8], field: &str) -> Result<Cow<'a, [u8]>, String> {
    let Ok(Members(members)) = serde_json::from_slice::<Members<'_>>(json) else { return Ok(json.into()) };
    let (ids, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| name == field);
    let Some((_, id)) = ids.first().filter(|(_, value)| value.get() != "null") else {
        return Err(format!("{field}: is missing, and --id says that it is the id"));
    };
    if ids.len() > 1 {
        return Err(format!("{field}: is there twice"));
    }
    if others.iter().any(|(name, _)| name == "_id") {
        return Err(format!("_id: is there already, and --id says that {field} is the id"));
    }
    let mut moved = format!("{{\"_id\":{}", id.get());
    for (name, value) in others {
        moved.push_str(&format!(",{}:{}", serde_json::Value::from(name), value.get()));
    }
    moved.push('}');
    Ok(moved.into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<&str, &str>) {
        let found = moved(json.as_bytes(), "sku");
        let found = found.map(|json| String::from_utf8(json.into_owned()).unwrap());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{json}");
    }

    #[test]
    fn the_field_becomes_the_id_and_everything_else_stays_as_it_is() {
        let document = r#"{ "a" : 1e999, "sku" : "A-1", "b\n":{"sku":2}, "a":[ ] }"#;
        check(document, Ok(r#"{"_id":"A-1","a":1e999,"b\n":{"sku":2},"a":[ ]}"#));
        check(
            r#"{"sku":{"$oid":"0123456789abcdef01234567"}}"#,
            Ok(r#"{"_id":{"$oid":"0123456789abcdef01234567"}}"#),
        );
    }

    #[test]
    fn a_document_without_the_field_or_with_an_id_besides_is_refused() {
        let missing = Err("sku: is missing, and --id says that it is the id");
        check("{}", missing);
        check(r#"{"SKU":1,"a":{"sku":1}}"#, missing);
        check(r#"{"sku":null}"#, missing);
        check(r#"{"sku":1,"sku":2}"#, Err("sku: is there twice"));
        check(r#"{"_id":1,"sku":2}"#, Err("_id: is there already, and --id says that sku is the id"));
    }

    #[test]
    fn what_is_no_object_is_left_to_its_reader() {
        check(r#"{"sku":1"#, Ok(r#"{"sku":1"#));
        check("[1]", Ok("[1]"));
    }
}
