//! Whether a document matches a filter, decided on its raw bytes with MongoDB's semantics.

use std::collections::BTreeSet;

use super::{
    filter::{CompareOp, Filter},
    order,
    path::{Leaf, Path, any_leaf},
    raw::{Malformed, Value},
    term,
};

/// A filter made ready to be asked many times: paths are split and values are keys.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    All,
    And(Vec<Matcher>),
    Or(Vec<Matcher>),
    Not(Box<Matcher>),
    Compare { path: Path, op: CompareOp, key: Vec<u8> },
    In { path: Path, keys: BTreeSet<Vec<u8>> },
    Exists { path: Path },
    Prefix { path: Path, text: Box<[u8]> },
    Text { path: Path, terms: BTreeSet<String> },
}

impl Matcher {
    /// Prepares `filter`. A value that BSON cannot hold is malformed.
    pub(crate) fn new(filter: &Filter) -> Result<Self, Malformed> {
        let all = |parts: &[Filter]| parts.iter().map(Self::new).collect::<Result<Vec<_>, _>>();
        let one_of = |path: &str, values: &[bson::Bson]| {
            let keys = values.iter().map(order::key_of_bson).collect::<Result<_, _>>()?;
            Ok(Self::In { path: Path::new(path), keys })
        };
        Ok(match filter {
            Filter::All => Self::All,
            Filter::And(parts) => Self::And(all(parts)?),
            Filter::Or(parts) => Self::Or(all(parts)?),
            Filter::Compare { path, op: CompareOp::Ne, value } => {
                let key = order::key_of_bson(value)?;
                Self::not(Self::Compare { path: Path::new(path), op: CompareOp::Eq, key })
            }
            Filter::Compare { path, op, value } => {
                Self::Compare { path: Path::new(path), op: *op, key: order::key_of_bson(value)? }
            }
            Filter::In { path, values } => one_of(path, values)?,
            Filter::NotIn { path, values } => Self::not(one_of(path, values)?),
            Filter::Exists { path, present: true } => Self::Exists { path: Path::new(path) },
            Filter::Exists { path, present: false } => Self::not(Self::Exists { path: Path::new(path) }),
            Filter::Prefix { path, text } => {
                Self::Prefix { path: Path::new(path), text: text.as_bytes().into() }
            }
            Filter::Text { path, text } => Self::Text { path: Path::new(path), terms: term::terms(text) },
        })
    }

    fn not(inner: Self) -> Self {
        Self::Not(Box::new(inner))
    }

    /// Whether `document` matches.
    pub(crate) fn matches(&self, document: &[u8]) -> Result<bool, Malformed> {
        let mut scratch = Vec::new();
        self.check(document, &mut scratch)
    }

    fn check(&self, document: &[u8], scratch: &mut Vec<u8>) -> Result<bool, Malformed> {
        match self {
            Self::All => Ok(true),
            Self::And(parts) => {
                for part in parts {
                    if !part.check(document, scratch)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(parts) => {
                for part in parts {
                    if part.check(document, scratch)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(inner) => Ok(!inner.check(document, scratch)?),
            Self::Compare { path, op, key } => {
                any_leaf(document, path, &mut |leaf| compare(leaf.value(), *op, key, scratch))
            }
            Self::In { path, keys } => any_leaf(document, path, &mut |leaf| {
                scratch.clear();
                order::write_key(leaf.value(), scratch)?;
                Ok(keys.contains(scratch.as_slice()))
            }),
            Self::Exists { path } => any_leaf(document, path, &mut |leaf| Ok(!matches!(leaf, Leaf::Absent))),
            Self::Prefix { path, text } => any_leaf(document, path, &mut |leaf| match leaf.string() {
                Some(value) => Ok(value.text_bytes()?.starts_with(text)),
                None => Ok(false),
            }),
            Self::Text { path, terms } => has_terms(document, path, terms),
        }
    }
}

fn has_terms(document: &[u8], path: &Path, terms: &BTreeSet<String>) -> Result<bool, Malformed> {
    for folded in terms {
        let found = any_leaf(document, path, &mut |leaf| match leaf.string() {
            Some(value) => Ok(term::has_term(value.text()?, folded)),
            None => Ok(false),
        })?;
        if !found {
            return Ok(false);
        }
    }
    Ok(!terms.is_empty())
}

/// Compares within the class of the operand: a string is neither above nor below a number.
fn compare(
    value: Option<Value<'_>>,
    op: CompareOp,
    operand: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    scratch.clear();
    order::write_key(value, scratch)?;
    let key = scratch.as_slice();
    if key.first() != operand.first() {
        return Ok(false);
    }
    // NaN is equal to itself, and neither above nor below anything.
    if order::is_nan_key(key) != order::is_nan_key(operand) {
        return Ok(false);
    }
    Ok(match op {
        CompareOp::Eq => key == operand,
        CompareOp::Ne => key != operand,
        CompareOp::Gt => key > operand,
        CompareOp::Gte => key >= operand,
        CompareOp::Lt => key < operand,
        CompareOp::Lte => key <= operand,
    })
}
