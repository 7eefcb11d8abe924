//! `claims` of a key: what is known of its bearer besides the role.

use std::sync::Arc;

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use crate::config::setting::Setting;

const WANTED: &str =
    "must be a table of text, numbers, true or false, or lists of them, such as { tenant = \"acme\" }";

/// What is known of the bearer of a key, by name.
#[derive(Clone, Debug)]
pub(crate) struct Claims(pub Arc<Map<String, Value>>);

impl Setting for Claims {
    fn from_text(_: &str) -> Result<Self, String> {
        Err(WANTED.to_owned())
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let table = value.as_table().ok_or(WANTED)?;
        let read = |(name, value): (&str, &DeValue<'_>)| {
            let read = read_claim(value).ok_or_else(|| format!("{name}: {WANTED}"))?;
            Ok((name.to_owned(), read))
        };
        let claims = table.iter().map(|(name, value)| read((name.get_ref(), value.get_ref())));
        claims.collect::<Result<_, String>>().map(|claims| Self(Arc::new(claims)))
    }
}

fn read_claim(value: &DeValue<'_>) -> Option<Value> {
    match value.as_array() {
        Some(items) => {
            items.iter().map(|item| read_single(item.get_ref())).collect::<Option<_>>().map(Value::Array)
        }
        None => read_single(value),
    }
}

fn read_single(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| Value::Number(number.into())),
        DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64).map(Value::Number),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
