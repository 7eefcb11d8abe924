//! The words of the sample shop: a pantry and kitchen shop that does not exist. Everything here is invented.

mod catalogue;
mod makers;
mod people;
mod prose;

pub(super) use self::{
    catalogue::{CATEGORIES, Category, LINES},
    makers::Maker,
    people::{CITIES, FAMILY_NAMES, GIVEN_NAMES, MAIL_HOSTS, STREETS},
    prose::{CLOSINGS, FRIENDS, OPENINGS, SPANS, VOICES},
};

/// Writes `template` to `out`, with every `{name}` replaced by its value.
pub(super) fn fill(out: &mut String, template: &str, values: &[(&str, &str)]) {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let close = open + rest[open..].find('}').expect("every brace in a template of ours is closed");
        let name = &rest[open + 1..close];
        let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        out.push_str(&rest[..open]);
        out.push_str(value.expect("every name in a template of ours has a value"));
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
}
