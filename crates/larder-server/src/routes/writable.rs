//! Which fields a body names, before anything is said of what stands in them.

use hyper::StatusCode;
use larder::document::MAX_DEPTH;
use serde_json::value::RawValue;

use crate::{
    members::Members,
    routes::{Refusal, View},
};

/// Checks that every field that a body names may be written. Looks at names alone: the declared type of a field is not for
/// those who may not write it.
///
/// An object that is merged counts by what is in it; an array, or an object that is empty, replaces what is there, and counts
/// as a whole. So does Extended JSON.
///
/// # Errors
/// 403 naming the field; 400 for text that is not JSON. What is JSON and no object passes: it has no fields.
pub(super) fn check(writes: &View, json: &[u8]) -> Result<(), Refusal> {
    if writes.is_whole() || json.trim_ascii_start().first() != Some(&b'{') {
        return Ok(());
    }
    let members: Members<'_> = serde_json::from_slice(json)
        .map_err(|error| unreadable(&error).with_position(error.line(), error.column()))?;
    check_below(writes, members, &mut String::new(), 1)
}

/// As deep as documents may be; what is deeper counts as a whole, and its reader refuses it.
fn check_below(writes: &View, members: Members<'_>, path: &mut String, depth: u32) -> Result<(), Refusal> {
    for (name, value) in members.0 {
        let parent_len = path.len();
        if parent_len > 0 {
            path.push('.');
        }
        path.push_str(&name);
        match members_to_merge(value).filter(|_| depth < MAX_DEPTH) {
            Some(below) => check_below(writes, below?, path, depth + 1)?,
            None if writes.sees(path) => {}
            None => {
                return Err(
                    Refusal::forbidden("this role may not write this field").with_field(path.as_str())
                );
            }
        }
        path.truncate(parent_len);
    }
    Ok(())
}

/// What is in an object, if it does not count as a whole.
fn members_to_merge(value: &RawValue) -> Option<Result<Members<'_>, Refusal>> {
    if !value.get().starts_with('{') {
        return None;
    }
    match serde_json::from_str::<Members<'_>>(value.get()) {
        Ok(Members(members)) if members.first().is_none_or(|(name, _)| name.starts_with('$')) => None,
        read => Some(read.map_err(|error| unreadable(&error))),
    }
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid-json", format!("not valid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> u16 {
        let writes = View::new(None, vec!["maker.margin".to_owned(), "cost".to_owned()]);
        check(&writes, json.as_bytes()).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn what_may_not_be_written_is_found_at_every_depth() {
        for (json, expected) in [
            (r#"{"_id":1,"name":"a","maker":{"country":"NL"}}"#, 200),
            (r#"{"cost":1}"#, 403),
            (r#"{"maker":{"margin":1}}"#, 403),
            (r#"{"maker":{}}"#, 403),
            (r#"{"maker":null}"#, 403),
            (r#"{"maker":[1]}"#, 403),
            (r#"{"maker":{"$date":"2025-01-02T03:04:05Z"}}"#, 403),
            (r#"{"made_at":{"$date":"2025-01-02T03:04:05Z"}}"#, 200),
        ] {
            assert_eq!(status(json), expected, "{json}");
        }
    }

    #[test]
    fn no_form_of_the_text_hides_a_name() {
        for (json, expected) in [
            (r#"{"cost":1,"cost":2}"#, 403),
            (r#"{"maker":{"margin":1},"maker":{"country":"NL"}}"#, 403),
            (r#"{"\u0063ost":1}"#, 403),
            (r#"{"maker.margin":1}"#, 403),
            (" \n\t{\"cost\" : 1 }", 403),
            (r#"{"price":1e999,"cost":1}"#, 403),
            (r#"{"cost":[1"#, 400),
            (r#"{"cost":1,"\ud800":1}"#, 400),
            (r#"{"maker":{"margin":1,"\ud800":1}}"#, 400),
            ("[{\"cost\":1}]", 200),
        ] {
            assert_eq!(status(json), expected, "{json}");
        }
        for depth in [40, 100_000] {
            let deep = format!("{}{{\"cost\":1}}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            assert_eq!(status(&deep), 200, "it is left to the reader, which takes none so deep");
        }
    }
}
