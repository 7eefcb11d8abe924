//! What is wrong with a configuration: every problem at once, each with its place.

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The dotted path of the setting, such as `collection[1].field[0].type`; or the environment variable.
    pub path: String,
    /// The line in the file, from 1; 0 when the setting did not come from the file.
    pub line: usize,
    /// What is wrong and what would be right: lower case, no full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// All problems of one configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems {
    /// Where the configuration came from, for the heading.
    pub origin: String,
    /// The problems, in the order of the file.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{}: {count} problem{}", self.origin, if count == 1 { "" } else { "s" })?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The candidate that is most like `word`, if one is like it at all: how a typing error is answered.
pub(crate) fn find_nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
