//! Filters as MongoDB's query documents. Every operator is written here; what a client sent is only ever a value.

use bson::{Bson, Document, bson, doc};

use crate::document::{CompareOp, Filter};

/// The query document of `filter`.
pub(super) fn to_query(filter: &Filter) -> Document {
    match filter {
        Filter::All => Document::new(),
        Filter::And(parts) if parts.is_empty() => Document::new(),
        Filter::And(parts) => doc! { "$and": list(parts) },
        Filter::Or(parts) if parts.is_empty() => nothing(),
        Filter::Or(parts) => doc! { "$or": list(parts) },
        Filter::Compare { path, op, value } => compare(path, *op, value),
        Filter::In { path, values } => doc! { path: { "$in": values.clone() } },
        Filter::NotIn { path, values } => doc! { path: { "$nin": values.clone() } },
        Filter::Exists { path, present } => doc! { path: { "$exists": present } },
        Filter::Prefix { path, text } => doc! { path: { "$regex": anchored(text) } },
    }
}

fn list(parts: &[Filter]) -> Vec<Bson> {
    parts.iter().map(|part| to_query(part).into()).collect()
}

/// Matches no document, without looking at any.
pub(super) fn nothing() -> Document {
    doc! { "_id": { "$in": [] } }
}

fn compare(path: &str, op: CompareOp, value: &Bson) -> Document {
    let operator = match op {
        CompareOp::Eq => "$eq",
        CompareOp::Ne => "$ne",
        CompareOp::Gt => "$gt",
        CompareOp::Gte => "$gte",
        CompareOp::Lt => "$lt",
        CompareOp::Lte => "$lte",
    };
    doc! { path: { operator: value.clone() } }
}

/// A regular expression for "begins with this text" that MongoDB turns into a range of an index. Not a range of our own: on
/// an array, one element could meet its lower end and another its upper.
fn anchored(text: &str) -> Bson {
    let mut pattern = String::with_capacity(text.len() + 8);
    pattern.push('^');
    for letter in text.chars() {
        match letter {
            '\0' => pattern.push_str("\\x00"),
            letter if letter.is_ascii_alphanumeric() || !letter.is_ascii() => pattern.push(letter),
            letter => pattern.extend(['\\', letter]),
        }
    }
    bson!(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_text_whatever_it_holds() {
        assert_eq!(anchored("a.*b"), bson!("^a\\.\\*b"));
        assert_eq!(anchored("\\Eé\n\0"), bson!("^\\\\Eé\\\n\\x00"));
    }

    #[test]
    fn an_empty_list_of_alternatives_matches_nothing_and_of_demands_everything() {
        assert_eq!(to_query(&Filter::Or(vec![])), nothing());
        assert_eq!(to_query(&Filter::And(vec![])), doc! {});
    }

    #[test]
    fn values_stay_values() {
        let filter = Filter::Compare { path: "a".into(), op: CompareOp::Eq, value: bson!({ "$gt": "" }) };
        assert_eq!(to_query(&filter), doc! { "a": { "$eq": { "$gt": "" } } });
    }
}
