//! The types that a setting can have, and how each is written.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use larder::document::{FieldType, IdType};
use toml::de::DeValue;

use crate::config::{
    policy::{ConsistencyMode, WriteMode},
    problem::find_nearest,
    secret::Secret,
    verb::Verb,
};

/// A value that can stand in the file or in an environment variable.
pub(super) trait Setting: Sized {
    /// Reads the text form: an environment variable, or a TOML string.
    fn from_text(text: &str) -> Result<Self, String>;

    /// Reads a TOML value. By default only a string will do.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => Err(format!("must be text in quotes, not {}", value.type_str())),
        }
    }
}

impl Setting for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Setting for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Setting for Secret {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::new(text))
    }
}

impl Setting for SocketAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be an address and a port, such as \"127.0.0.1:7300\"".to_owned())
    }
}

impl Setting for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be true or false".to_owned())
    }
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "must be true or false, without quotes".to_owned())
    }
}

impl Setting for u64 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be a whole number, 0 or more".to_owned())
    }
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_integer() {
            Some(number) => Self::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| "must be a whole number, 0 or more".to_owned()),
            None => Err(format!("must be a whole number, not {}", value.type_str())),
        }
    }
}

impl Setting for u32 {
    fn from_text(text: &str) -> Result<Self, String> {
        u64::from_text(text).and_then(fit_u32)
    }
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        u64::from_toml(value).and_then(fit_u32)
    }
}

fn fit_u32(number: u64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("must be at most {}", u32::MAX))
}

impl Setting for f64 {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("must be a number".to_owned()),
        }
    }
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match (value.as_float(), value.as_integer()) {
            (Some(number), _) => Self::from_text(number.as_str()),
            (_, Some(number)) => Self::from_text(number.as_str()),
            _ => Err(format!("must be a number, not {}", value.type_str())),
        }
    }
}

impl Setting for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || "must be a duration such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"7d\"".to_owned();
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit_ms).map(Self::from_millis).ok_or_else(wrong)
    }
}

/// A number of bytes, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub u64);

impl Setting for ByteSize {
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || "must be a size such as \"64KiB\", \"16MiB\" or \"1GiB\"".to_owned();
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let unit_bytes = match unit {
            "B" => 1,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(unit_bytes).map(Self).ok_or_else(wrong)
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

impl Setting for IdType {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "objectId" => Ok(Self::ObjectId),
            "string" => Ok(Self::String),
            "int" => Ok(Self::Int),
            other => Err(not_one_of(other, &["objectId", "string", "int"])),
        }
    }
}

const FIELD_TYPES: &[&str] =
    &["string", "int", "double", "decimal", "bool", "date", "objectId", "object", "any", "array<string>"];

impl Setting for FieldType {
    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(element) = text.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
            return Self::from_text(element).map(|element| Self::Array(Box::new(element)));
        }
        Ok(match text {
            "string" => Self::String,
            "int" => Self::Int,
            "double" => Self::Double,
            "decimal" => Self::Decimal,
            "bool" => Self::Bool,
            "date" => Self::Date,
            "objectId" => Self::ObjectId,
            "object" => Self::Object,
            "any" => Self::Any,
            other => return Err(not_one_of(other, FIELD_TYPES)),
        })
    }
}

impl Setting for ConsistencyMode {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "bounded" => Ok(Self::Bounded),
            "strict" => Ok(Self::Strict),
            other => Err(not_one_of(other, &["local", "bounded", "strict"])),
        }
    }
}

impl Setting for WriteMode {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "around" => Ok(Self::Around),
            "through" => Ok(Self::Through),
            other => Err(not_one_of(other, &["around", "through"])),
        }
    }
}

impl Setting for Verb {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.name() == text)
            .ok_or_else(|| not_one_of(text, &Self::ALL.map(Self::name)))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        text.split(',').map(|item| T::from_text(item.trim())).collect()
    }
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_array() {
            Some(items) => items.iter().map(|item| T::from_toml(item.get_ref())).collect(),
            None => Err(format!("must be a list in brackets, not {}", value.type_str())),
        }
    }
}

pub(super) fn not_one_of(word: &str, names: &[&str]) -> String {
    let list = names.join(", ");
    match find_nearest(word, names.iter().copied()) {
        Some(nearest) => format!("\"{word}\" is not known; did you mean \"{nearest}\"? (one of {list})"),
        None => format!("\"{word}\" is not known; it must be one of {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit() {
        assert_eq!(Duration::from_text("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(Duration::from_text("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(ByteSize::from_text("64KiB"), Ok(ByteSize(65_536)));
        for wrong in
            ["", "5", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d", "5 parsecs"]
        {
            assert!(Duration::from_text(wrong).is_err(), "{wrong}");
            assert!(ByteSize::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arrays_name_the_type_of_their_elements() {
        assert_eq!(FieldType::from_text("array<string>"), Ok(FieldType::Array(Box::new(FieldType::String))));
        assert!(FieldType::from_text("array<strnig>").unwrap_err().contains("did you mean \"string\""));
    }
}
