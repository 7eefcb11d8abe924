//! The value of an expression on one document.

use bson::{Bson, Document};

use super::{
    arithmetic,
    expression::{Expression, Operator},
    not_computable,
};
use crate::{
    Result,
    document::{
        CompareOp,
        order::{class, key_of_bson},
        path::Path,
        raw::{self, Malformed, Value},
    },
};

impl Expression {
    /// The value on `document`, which is raw BSON; `None` where MongoDB has no value, such as for an absent field.
    pub(super) fn evaluate(&self, document: &[u8]) -> Result<Option<Bson>> {
        Ok(match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Root => {
                Some(Bson::Document(bson::deserialize_from_slice(document).map_err(|_| Malformed)?))
            }
            Self::Field(path) => field(document, path)?,
            Self::Object(fields) => {
                let mut object = Document::new();
                for (name, expression) in fields {
                    if let Some(value) = expression.evaluate(document)? {
                        object.insert(name, value);
                    }
                }
                Some(Bson::Document(object))
            }
            Self::Array(items) => {
                let item = |item: &Self| Ok(item.evaluate(document)?.unwrap_or(Bson::Null));
                Some(Bson::Array(items.iter().map(item).collect::<Result<_>>()?))
            }
            Self::Call(operator, operands) => call(*operator, operands, document)?,
        })
    }

    /// The value, with null where there is none.
    pub(super) fn evaluate_or_null(&self, document: &[u8]) -> Result<Bson> {
        Ok(self.evaluate(document)?.unwrap_or(Bson::Null))
    }
}

/// The value at a path; through an array of documents, the array of their values.
pub(super) fn field(document: &[u8], path: &Path) -> Result<Option<Bson>, Malformed> {
    below(document, path.parts())
}

fn below(document: &[u8], parts: &[Box<str>]) -> Result<Option<Bson>, Malformed> {
    let Some((first, rest)) = parts.split_first() else { return Ok(None) };
    match raw::find(document, first.as_bytes())? {
        Some(value) => inside(value, rest),
        None => Ok(None),
    }
}

fn inside(value: Value<'_>, rest: &[Box<str>]) -> Result<Option<Bson>, Malformed> {
    if rest.is_empty() {
        return value.to_bson().map(Some);
    }
    if value.is_document() {
        return below(value.bytes, rest);
    }
    if !value.is_array() {
        return Ok(None);
    }
    let mut values = Vec::new();
    for element in value.elements()? {
        let element = element?.value;
        if element.is_document() || element.is_array() {
            values.extend(inside(element, rest)?);
        }
    }
    Ok(Some(Bson::Array(values)))
}

fn call(operator: Operator, operands: &[Expression], document: &[u8]) -> Result<Option<Bson>> {
    let value = |index: usize| operands[index].evaluate_or_null(document);
    Ok(Some(match operator {
        Operator::Add => return fold(operands, document, arithmetic::add),
        Operator::Multiply => return fold(operands, document, arithmetic::multiply),
        Operator::Subtract => return fold(operands, document, arithmetic::subtract),
        Operator::Divide => return fold(operands, document, arithmetic::divide),
        Operator::Round => match (value(0)?, operands.get(1)) {
            (Bson::Null, _) => Bson::Null,
            (number, None) => arithmetic::round(&number, &Bson::Int32(0))?,
            (number, Some(places)) => match places.evaluate_or_null(document)? {
                Bson::Null => Bson::Null,
                places => arithmetic::round(&number, &places)?,
            },
        },
        Operator::IfNull => {
            for operand in operands {
                match operand.evaluate(document)? {
                    None | Some(Bson::Null | Bson::Undefined) => {}
                    found => return Ok(found),
                }
            }
            // All are null: the last decides between null and no value.
            return operands.last().map_or(Ok(None), |last| last.evaluate(document));
        }
        Operator::Cond => {
            let chosen = if is_true(operands[0].evaluate(document)?.as_ref()) { 1 } else { 2 };
            return operands[chosen].evaluate(document);
        }
        Operator::Compare(op) => {
            let (a, b) = (key(operands[0].evaluate(document)?)?, key(operands[1].evaluate(document)?)?);
            Bson::Boolean(match op {
                CompareOp::Eq => a == b,
                CompareOp::Ne => a != b,
                CompareOp::Gt => a > b,
                CompareOp::Gte => a >= b,
                CompareOp::Lt => a < b,
                CompareOp::Lte => a <= b,
            })
        }
        Operator::And => Bson::Boolean(!any(operands, document, false)?),
        Operator::Or => Bson::Boolean(any(operands, document, true)?),
        Operator::Not => Bson::Boolean(!is_true(operands[0].evaluate(document)?.as_ref())),
        Operator::Concat => concat(operands, document)?,
        Operator::Size => match value(0)? {
            Bson::Array(items) => Bson::Int32(i32::try_from(items.len()).unwrap_or(i32::MAX)),
            _ => return Err(not_computable("`$size` of something that is no array")),
        },
    }))
}

/// Combines the operands from left to right; null if one of them is.
fn fold(
    operands: &[Expression],
    document: &[u8],
    combine: fn(&Bson, &Bson) -> Result<Bson>,
) -> Result<Option<Bson>> {
    let mut total: Option<Bson> = None;
    for operand in operands {
        let value = match operand.evaluate_or_null(document)? {
            Bson::Null | Bson::Undefined => return Ok(Some(Bson::Null)),
            value => value,
        };
        total = Some(match total {
            None => value,
            Some(total) => combine(&total, &value)?,
        });
    }
    Ok(total)
}

fn any(operands: &[Expression], document: &[u8], wanted: bool) -> Result<bool> {
    for operand in operands {
        if is_true(operand.evaluate(document)?.as_ref()) == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

fn concat(operands: &[Expression], document: &[u8]) -> Result<Bson> {
    let mut text = String::new();
    for operand in operands {
        match operand.evaluate_or_null(document)? {
            Bson::String(part) => text.push_str(&part),
            Bson::Null | Bson::Undefined => return Ok(Bson::Null),
            _ => return Err(not_computable("`$concat` of something that is no string")),
        }
    }
    Ok(Bson::String(text))
}

/// False, null, no value and zero are false.
fn is_true(value: Option<&Bson>) -> bool {
    match value {
        None | Some(Bson::Null | Bson::Undefined | Bson::Boolean(false)) => false,
        Some(value) => arithmetic::Number::of(value).is_none_or(|number| !number.is_zero()),
    }
}

/// No value sorts below null here, other than in a filter.
fn key(value: Option<Bson>) -> Result<Vec<u8>, Malformed> {
    value.map_or_else(|| Ok(vec![class::UNDEFINED]), |value| key_of_bson(&value))
}
