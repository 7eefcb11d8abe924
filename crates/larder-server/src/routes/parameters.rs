//! Query strings, decoded.

use larder::document::QueryParser;

use crate::routes::{Refusal, call::Call, target};

/// The most parameters that a query string may have.
const MAX_PARAMETERS: usize = 64;

/// The parameters of a query string, decoded, in their order.
///
/// # Errors
/// 400 for more than a query can need, and naming the parameter for what is not UTF-8.
pub(crate) fn decode(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (name.replace('+', " "), value.replace('+', " "));
        let name = target::decode(&name, &name)?;
        let value = target::decode(&name, &value)?;
        if pairs.len() == MAX_PARAMETERS {
            return Err(Refusal::invalid(
                name.into_owned(),
                format!("a request may have at most {MAX_PARAMETERS} parameters"),
            ));
        }
        pairs.push((name.into_owned(), value.into_owned()));
    }
    Ok(pairs)
}

/// The `fields` of a request that knows no other parameter; `None` when it does not say.
///
/// # Errors
/// 400 for any other parameter, a field that is not declared, or one that this role does not see.
pub(crate) fn only_fields(call: &Call<'_>, query: &str) -> Result<Option<Vec<String>>, Refusal> {
    let pairs = decode(query)?;
    if let Some((name, _)) = pairs.iter().find(|(name, _)| name != "fields") {
        return Err(Refusal::invalid(name, "is not a parameter here; the only one is fields"));
    }
    let visible = |path: &str| call.access.view.sees(path);
    Ok(QueryParser::new(call.resource.schema()).visible(&visible).parse(pairs)?.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_as_forms_are() {
        let found = decode("&name=a%20b+c&&n%C3%A9=%2B%3D=&flag&=x").ok();
        let found: Vec<_> =
            found.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("name", "a b c"), ("né", "+=="), ("flag", ""), ("", "x")]);
    }
}
