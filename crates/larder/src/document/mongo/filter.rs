//! Filters as MongoDB's query documents. Every operator is written here; what a client sent is only ever a value.

use std::{collections::BTreeSet, sync::LazyLock};

use bson::{Bson, Document, bson, doc};

use crate::document::{
    CompareOp, Filter,
    term::{SEPARATORS, spellings, terms},
};

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
        Filter::Text { path, text } => has_words(path, &terms(text)),
    }
}

/// Each of the terms by a regular expression of its own, which one string or another of an array meets.
fn has_words(path: &str, terms: &BTreeSet<String>) -> Document {
    if terms.is_empty() {
        return nothing();
    }
    let has = |term: &String| bson!({ path: { "$regex": whole(term) } });
    doc! { "$and": terms.iter().map(has).collect::<Vec<_>>() }
}

/// A regular expression for "this term stands there, between separators, in any case". All of that is spelled out: what
/// engines of expressions call a word, and which letters they take for one, differs.
fn whole(term: &str) -> String {
    static SEPARATOR: LazyLock<String> = LazyLock::new(|| {
        let code = |letter: &char| ["\\x{", &format!("{:X}", u32::from(*letter)), "}"].concat();
        SEPARATORS.iter().map(|range| format!("{}-{}", code(range.start()), code(range.end()))).collect()
    });
    let other = SEPARATOR.as_str();
    // A zero byte ends the text.
    let mut pattern = format!("^[^\\x00]*?(?<![^{other}])");
    for letter in term.chars() {
        match spellings(letter) {
            [] => write_literal(letter, &mut pattern),
            spellings => {
                pattern.push('[');
                spellings.iter().for_each(|letter| write_literal(*letter, &mut pattern));
                pattern.push(']');
            }
        }
    }
    pattern + &format!("(?![^{other}\\x00])")
}

fn write_literal(letter: char, pattern: &mut String) {
    match letter {
        '\0' => pattern.push_str("\\x00"),
        letter if letter.is_ascii_alphanumeric() || !letter.is_ascii() => pattern.push(letter),
        letter => pattern.extend(['\\', letter]),
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
    text.chars().for_each(|letter| write_literal(letter, &mut pattern));
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
    fn words_are_spelled_out_letter_by_letter() {
        let pattern = whole("as_é\u{1}");
        assert!(pattern.starts_with("^[^\\x00]*?(?<![^\\x{9}-\\x{D}\\x{20}-\\x{2F}"), "{pattern}");
        assert!(pattern.contains(r"])[aA][sSſ]\_[éÉ]") && pattern.ends_with("])"), "{pattern}");
        let nowhere = Filter::Text { path: "a".into(), text: "-".into() };
        assert_eq!(to_query(&nowhere), nothing());
    }

    #[test]
    fn values_stay_values() {
        let filter = Filter::Compare { path: "a".into(), op: CompareOp::Eq, value: bson!({ "$gt": "" }) };
        assert_eq!(to_query(&filter), doc! { "a": { "$eq": { "$gt": "" } } });
    }
}
