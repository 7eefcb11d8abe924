//! The place that stands at the end of what is said of wrong JSON: `at line 2 column 7`, counted from 1.

/// What is said without its place, and line and column, if there are any.
pub(crate) fn split(said: &str) -> (&str, Option<(usize, usize)>) {
    let cut = || {
        let (what, place) = said.rsplit_once(" at line ")?;
        let (line, column) = place.split_once(" column ")?;
        Some((what, Some((line.parse().ok()?, column.parse().ok()?))))
    };
    cut().unwrap_or((said, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_what_stands_at_the_end() {
        let error = serde_json::from_str::<serde_json::Value>("{\n  \"a\" 1}").unwrap_err().to_string();
        assert_eq!(split(&error), ("expected `:`", Some((2, 7))));
        for said in ["must be an object", "meet me at line 7", "it is at line 1 column 2, or not"] {
            assert_eq!(split(said), (said, None));
        }
    }
}
