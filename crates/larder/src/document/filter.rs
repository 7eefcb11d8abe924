//! Typed filters: what a find, a count or a row rule asks for. A tree of values, never of text, so nothing can be injected.

use bson::Bson;

use super::{order, raw::Malformed};

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
