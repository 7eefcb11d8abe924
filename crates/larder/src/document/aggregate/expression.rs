//! Expressions: fields, literals and the operators that are allowed.

use bson::{Bson, Document};

use super::{MAX_EXPRESSION_DEPTH, config};
use crate::{
    Result,
    document::{CompareOp, ingest::excerpt, path::Path},
};

/// An expression over one document.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Literal(Bson),
    Field(Path),
    /// `$$ROOT`: the whole document.
    Root,
    Object(Vec<(String, Expression)>),
    Array(Vec<Expression>),
    Call(Operator, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Multiply,
    Subtract,
    Divide,
    Round,
    IfNull,
    Cond,
    Compare(CompareOp),
    And,
    Or,
    Not,
    Concat,
    Size,
}

impl Operator {
    /// The operator, and how many operands it takes.
    fn named(name: &str) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
        const MANY: usize = 32;
        Some(match name {
            "$add" => (Self::Add, 1..=MANY),
            "$multiply" => (Self::Multiply, 1..=MANY),
            "$subtract" => (Self::Subtract, 2..=2),
            "$divide" => (Self::Divide, 2..=2),
            "$round" => (Self::Round, 1..=2),
            "$ifNull" => (Self::IfNull, 2..=MANY),
            "$cond" => (Self::Cond, 3..=3),
            "$eq" => (Self::Compare(CompareOp::Eq), 2..=2),
            "$ne" => (Self::Compare(CompareOp::Ne), 2..=2),
            "$gt" => (Self::Compare(CompareOp::Gt), 2..=2),
            "$gte" => (Self::Compare(CompareOp::Gte), 2..=2),
            "$lt" => (Self::Compare(CompareOp::Lt), 2..=2),
            "$lte" => (Self::Compare(CompareOp::Lte), 2..=2),
            "$and" => (Self::And, 0..=MANY),
            "$or" => (Self::Or, 0..=MANY),
            "$not" => (Self::Not, 1..=1),
            "$concat" => (Self::Concat, 0..=MANY),
            "$size" => (Self::Size, 1..=1),
            _ => return None,
        })
    }
}

impl Expression {
    pub(super) fn read(value: &Bson) -> Result<Self> {
        Self::read_level(value, 0)
    }

    fn read_level(value: &Bson, depth: u32) -> Result<Self> {
        if depth > MAX_EXPRESSION_DEPTH {
            return Err(config("an expression is nested too deeply"));
        }
        match value {
            Bson::String(text) if text == "$$ROOT" => Ok(Self::Root),
            Bson::String(text) if text.starts_with("$$") => {
                Err(config(format!("an expression cannot use the variable `{}`", excerpt(text))))
            }
            Bson::String(text) if text.starts_with('$') => Ok(Self::Field(Path::new(field_path(text)?))),
            Bson::Document(document) => Self::read_document(document, depth),
            Bson::Array(items) => {
                let items = items.iter().map(|item| Self::read_level(item, depth + 1));
                Ok(Self::Array(items.collect::<Result<_>>()?))
            }
            literal => Ok(Self::Literal(literal.clone())),
        }
    }

    fn read_document(document: &Document, depth: u32) -> Result<Self> {
        let operator = document.iter().find(|(name, _)| name.starts_with('$'));
        let Some((name, operand)) = operator else {
            let fields = document.iter().map(|(name, value)| {
                if name.contains('.') || name.is_empty() {
                    return Err(config(format!("`{}` cannot name a field of an object", excerpt(name))));
                }
                Ok((name.clone(), Self::read_level(value, depth + 1)?))
            });
            return Ok(Self::Object(fields.collect::<Result<_>>()?));
        };
        if document.len() > 1 {
            return Err(config(format!("`{}` must stand alone in its object", excerpt(name))));
        }
        if name == "$literal" {
            return Ok(Self::Literal(operand.clone()));
        }
        let (operator, arity) = Operator::named(name)
            .ok_or_else(|| config(format!("an expression cannot use `{}`", excerpt(name))))?;
        let operands = match operand {
            Bson::Document(named) if operator == Operator::Cond && !named.contains_key("$literal") => {
                conditional(named)?
            }
            Bson::Array(operands) => operands.clone(),
            single => vec![single.clone()],
        };
        if !arity.contains(&operands.len()) {
            return Err(config(format!("`{name}` has a wrong number of operands")));
        }
        let operands = operands.iter().map(|operand| Self::read_level(operand, depth + 1));
        Ok(Self::Call(operator, operands.collect::<Result<_>>()?))
    }
}

/// `{"if": …, "then": …, "else": …}` in the order of the short form.
fn conditional(named: &Document) -> Result<Vec<Bson>> {
    let part = |name: &str| named.get(name).cloned();
    match (part("if"), part("then"), part("else"), named.len()) {
        (Some(condition), Some(then), Some(otherwise), 3) => Ok(vec![condition, then, otherwise]),
        _ => Err(config("`$cond` needs `if`, `then` and `else`")),
    }
}

/// The path behind the `$` of a field reference.
pub(super) fn field_path(reference: &str) -> Result<&str> {
    let path = reference.strip_prefix('$').unwrap_or_default();
    if path.split('.').any(|part| part.is_empty() || part.starts_with('$')) {
        return Err(config(format!("`{}` is not a field", excerpt(reference))));
    }
    Ok(path)
}
