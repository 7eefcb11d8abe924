//! Typed filters: what a find, a count or a row rule asks for. A tree of values, never of text, so nothing can be injected.

use bson::Bson;

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
