//! Typed filters: what a find, a count or a row rule asks for. A tree of values, never of text, so nothing can be injected.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, RawDocument};

use super::{matches::Matcher, order, raw::Malformed, term};
use crate::Result;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal; on an array field, equal to the array or to one of its elements. `Eq` null also matches an absent field.
    Eq,
    /// Not [`CompareOp::Eq`].
    Ne,
    /// Greater, within the value's own BSON type (all numbers count as one type).
    Gt,
    /// Greater or equal, within the type.
    Gte,
    /// Less, within the type.
    Lt,
    /// Less or equal, within the type.
    Lte,
}

/// A condition on documents, with MongoDB's semantics for arrays, null and absent fields, and type bracketing.
///
/// ```
/// use bson::{RawDocumentBuf, doc};
/// use larder::document::{CompareOp, Filter};
/// let cheap = Filter::Compare { path: "price".into(), op: CompareOp::Lt, value: 50.into() };
/// let red = Filter::Text { path: "name".into(), text: "red shoes".into() };
/// let document = RawDocumentBuf::try_from(&doc! { "name": "Shoes, dark-red", "price": 39.5 })?;
/// assert!(cheap.and(red).matches(&document)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every document.
    All,
    /// All of these.
    And(Vec<Filter>),
    /// At least one of these.
    Or(Vec<Filter>),
    /// One field against one value.
    Compare {
        /// Dotted path.
        path: String,
        /// How.
        op: CompareOp,
        /// Against what.
        value: Bson,
    },
    /// The field equals one of the values.
    In {
        /// Dotted path.
        path: String,
        /// The values; bounded by the parser.
        values: Vec<Bson>,
    },
    /// The field equals none of the values.
    NotIn {
        /// Dotted path.
        path: String,
        /// The values.
        values: Vec<Bson>,
    },
    /// The field is present (or absent); null counts as present.
    Exists {
        /// Dotted path.
        path: String,
        /// `true` for present.
        present: bool,
    },
    /// The string field begins with this text, byte for byte.
    Prefix {
        /// Dotted path.
        path: String,
        /// The literal beginning.
        text: String,
    },
    /// Each of the words in this text is in the field, whole and in any case; in an array of strings, in one or the other of
    /// them. Words are what stands between white space and punctuation; accents count, and there are no stems and no stop
    /// words. A zero byte ends a text. Nothing has the words of a text without any.
    Text {
        /// Dotted path.
        path: String,
        /// The words.
        text: String,
    },
}

impl Filter {
    /// Both conditions; what is always true falls away.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// Whether a document matches, decided here as the databases decide it.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` for bytes that are not BSON.
    pub fn matches(&self, document: &RawDocument) -> Result<bool> {
        match self {
            Self::All => Ok(true),
            filter => Ok(Matcher::new(filter)?.matches(document.as_bytes())?),
        }
    }

    /// The fields that every document that matches has with one value: those that must be [`CompareOp::Eq`] to something.
    pub fn fixed(&self) -> Vec<(&str, &Bson)> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::fixed).collect(),
            Self::Compare { path, op: CompareOp::Eq, value } if *value != Bson::Null => vec![(path, value)],
            _ => Vec::new(),
        }
    }

    /// The terms that every document that matches has, by their field.
    pub(crate) fn demanded_terms(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut demanded: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        match self {
            Self::And(parts) => {
                for (path, terms) in parts.iter().flat_map(Self::demanded_terms) {
                    demanded.entry(path).or_default().extend(terms);
                }
            }
            Self::Text { path, text } => {
                demanded.insert(path, term::terms(text));
            }
            _ => {}
        }
        demanded
    }

    /// Whether it asks for certain ids: then nothing else leads to fewer documents.
    pub(crate) fn names_ids(&self) -> bool {
        match self {
            Self::And(parts) => parts.iter().any(Self::names_ids),
            Self::Compare { path, op: CompareOp::Eq, .. } | Self::In { path, .. } => path == "_id",
            _ => false,
        }
    }

    /// The dotted paths that it compares, each once.
    #[cfg(any(test, feature = "mongo"))]
    pub(crate) fn paths(&self) -> BTreeSet<&str> {
        self.paths_of(|_| true)
    }

    /// The dotted paths of those of its conditions that are as asked for, each once.
    pub(crate) fn paths_of(&self, is_asked: impl Fn(&Self) -> bool) -> BTreeSet<&str> {
        let mut paths = BTreeSet::new();
        self.collect_paths(&is_asked, &mut paths);
        paths
    }

    fn collect_paths<'a>(&'a self, is_asked: &dyn Fn(&Self) -> bool, paths: &mut BTreeSet<&'a str>) {
        match self {
            Self::All => {}
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.collect_paths(is_asked, paths));
            }
            Self::Compare { path, .. }
            | Self::In { path, .. }
            | Self::NotIn { path, .. }
            | Self::Exists { path, .. }
            | Self::Prefix { path, .. }
            | Self::Text { path, .. } => {
                if is_asked(self) {
                    paths.insert(path);
                }
            }
        }
    }

    /// Appends bytes that two filters share only if they are the same: part of cursors and cache keys.
    pub(crate) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::All => out.push(b'*'),
            Self::And(parts) => return write_parts(b'&', parts, out),
            Self::Or(parts) => return write_parts(b'|', parts, out),
            Self::Compare { path, op, value } => {
                write_place(*op as u8, path, out);
                order::write_bson_key(value, out)?;
            }
            Self::In { path, values } => return write_values(b'i', path, values, out),
            Self::NotIn { path, values } => return write_values(b'n', path, values, out),
            Self::Exists { path, present } => {
                write_place(b'e', path, out);
                out.push(u8::from(*present));
            }
            Self::Prefix { path, text } => {
                write_place(b'p', path, out);
                write_place(b't', text, out);
            }
            Self::Text { path, text } => {
                write_place(b'w', path, out);
                write_place(b't', text, out);
            }
        }
        Ok(())
    }
}

fn write_place(tag: u8, path: &str, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(path.len() as u32).to_be_bytes());
    out.extend_from_slice(path.as_bytes());
}

fn write_parts(tag: u8, parts: &[Filter], out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.push(tag);
    out.extend_from_slice(&(parts.len() as u32).to_be_bytes());
    parts.iter().try_for_each(|part| part.write_canonical(out))
}

fn write_values(tag: u8, path: &str, values: &[Bson], out: &mut Vec<u8>) -> Result<(), Malformed> {
    write_place(tag, path, out);
    out.extend_from_slice(&(values.len() as u32).to_be_bytes());
    values.iter().try_for_each(|value| order::write_bson_key(value, out))
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};

    use super::*;

    fn compare(path: &str, op: CompareOp, value: impl Into<Bson>) -> Filter {
        Filter::Compare { path: path.into(), op, value: value.into() }
    }

    #[test]
    fn what_must_be_equal_is_fixed_and_what_may_be_is_not() {
        let either = Filter::Or(vec![compare("a", CompareOp::Eq, 1), compare("b", CompareOp::Eq, 1)]);
        let all = compare("t", CompareOp::Eq, "x")
            .and(either)
            .and(compare("n", CompareOp::Eq, Bson::Null))
            .and(Filter::And(vec![compare("m", CompareOp::Gt, 1), compare("o.p", CompareOp::Eq, true)]));
        assert_eq!(all.fixed(), [("t", &"x".into()), ("o.p", &true.into())]);
        assert_eq!(all.paths().into_iter().collect::<Vec<_>>(), ["a", "b", "m", "n", "o.p", "t"]);
    }

    #[test]
    fn the_words_that_must_be_there_are_gathered_by_field() {
        let search = |path: &str, text: &str| Filter::Text { path: path.into(), text: text.into() };
        let either = Filter::Or(vec![search("a", "x"), search("b", "y")]);
        let all =
            search("a", "Red wool").and(either).and(search("b", "c")).and(search("a", "wool, red silk"));
        let demanded = all.demanded_terms();
        let said: Vec<_> = demanded
            .iter()
            .map(|(path, terms)| (*path, terms.iter().cloned().collect::<Vec<_>>().join(" ")))
            .collect();
        assert_eq!(said, [("a", "red silk wool".to_owned()), ("b", "c".to_owned())]);
        assert!(!all.names_ids());
        assert!(all.and(compare("_id", CompareOp::Eq, 1)).names_ids());
    }

    #[test]
    fn a_document_is_asked_as_it_lies() {
        let document = RawDocumentBuf::try_from(&doc! { "t": ["x", "y"], "n": 3.0 }).unwrap();
        for (filter, matches) in [
            (Filter::All, true),
            (compare("t", CompareOp::Eq, "y"), true),
            (compare("t", CompareOp::Eq, "z"), false),
            (compare("n", CompareOp::Eq, 3), true),
            (compare("absent", CompareOp::Ne, "x"), true),
        ] {
            assert_eq!(filter.matches(&document).unwrap(), matches, "{filter:?}");
        }
    }
}
