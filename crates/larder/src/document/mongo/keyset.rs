//! Pages by position: what comes behind a document in an order, as a query.
//!
//! MongoDB's comparisons keep within the type of their operand, while its order goes across all types. So "behind" is the
//! rest of the position's own type and all of the types that follow it; an absent field counts as null.

use bson::{Bson, Document, bson, doc, spec::ElementType};

use super::filter::nothing;
use crate::{
    Error, Result,
    document::{Direction, Position, SortKey},
};

/// The types in MongoDB's order, by the names that `$type` knows. An array is sorted by one of its elements, so no position
/// holds one; scripts and types that have been out of use for a decade
/// are left out.
const CLASSES: [&[&str]; 11] = [
    &["minKey"],
    &["null"],
    &["number"],
    &["string"],
    &["object"],
    &["binData"],
    &["objectId"],
    &["bool"],
    &["date"],
    &["timestamp"],
    &["regex", "maxKey"],
];
const NULL: usize = 1;
const NUMBER: usize = 2;

fn class_of(value: &Bson) -> usize {
    match value.element_type() {
        ElementType::MinKey => 0,
        ElementType::Null | ElementType::Undefined => NULL,
        ElementType::Int32 | ElementType::Int64 | ElementType::Double | ElementType::Decimal128 => NUMBER,
        ElementType::String | ElementType::Symbol => 3,
        ElementType::EmbeddedDocument | ElementType::Array => 4,
        ElementType::Binary => 5,
        ElementType::ObjectId => 6,
        ElementType::Boolean => 7,
        ElementType::DateTime => 8,
        ElementType::Timestamp => 9,
        _ => 10,
    }
}

/// The sort document of a full order.
pub(super) fn to_sort(keys: &[SortKey]) -> Document {
    let sign = |direction| if direction == Direction::Ascending { 1 } else { -1 };
    keys.iter().map(|key| (key.path.clone(), Bson::Int32(sign(key.direction)))).collect()
}

/// What comes behind `position` in the order of `keys`, the last of which is `_id`.
///
/// # Errors
/// `ErrorKind::Invalid` naming `after`, if the position belongs to another order.
pub(super) fn behind(keys: &[SortKey], position: &Position) -> Result<Document> {
    if keys.len() != position.0.len() {
        return Err(Error::invalid("after", "belongs to another order"));
    }
    let mut alternatives = Vec::new();
    let mut ties: Vec<Document> = Vec::new();
    for (key, value) in keys.iter().zip(&position.0) {
        let mut all = ties.clone();
        all.push(behind_one(key, value));
        alternatives.push(all_of(all));
        ties.push(doc! { &key.path: { "$eq": value.clone() } });
    }
    Ok(one_of(alternatives))
}

fn behind_one(key: &SortKey, value: &Bson) -> Document {
    let path = &key.path;
    // Ids are of one type, and a plain range is what the index on them serves best.
    if path == "_id" {
        let operator = if key.direction == Direction::Ascending { "$gt" } else { "$lt" };
        return doc! { path: { operator: value.clone() } };
    }
    match key.direction {
        Direction::Ascending => one_of(above(path, value)),
        Direction::Descending => one_of(below(path, value)),
    }
}

fn above(path: &str, value: &Bson) -> Vec<Document> {
    let class = class_of(value);
    let mut parts = Vec::new();
    if is_nan(value) {
        // Not a number is below all numbers and compares with none.
        parts.push(doc! { path: { "$gte": f64::NEG_INFINITY } });
    } else if class > NULL {
        parts.push(doc! { path: { "$gt": value.clone() } });
    } else if class < NULL {
        parts.push(doc! { path: { "$eq": Bson::Null } });
    }
    parts.extend(of_types(path, &CLASSES[class + 1..]));
    parts
}

fn below(path: &str, value: &Bson) -> Vec<Document> {
    let class = class_of(value);
    let mut parts = Vec::new();
    if class > NULL && !is_nan(value) {
        parts.push(doc! { path: { "$lt": value.clone() } });
        if class == NUMBER {
            parts.push(doc! { path: { "$eq": f64::NAN } });
        }
    }
    if class > NULL {
        parts.push(doc! { path: { "$eq": Bson::Null } });
    }
    parts.extend(of_types(path, &CLASSES[..class]));
    parts
}

fn of_types(path: &str, classes: &[&[&str]]) -> Option<Document> {
    let names: Vec<Bson> =
        classes.iter().copied().flatten().filter(|name| **name != "null").map(|name| bson!(*name)).collect();
    (!names.is_empty()).then(|| doc! { path: { "$type": names } })
}

fn is_nan(value: &Bson) -> bool {
    match value {
        Bson::Double(number) => number.is_nan(),
        Bson::Decimal128(number) => number.to_string() == "NaN",
        _ => false,
    }
}

fn one_of(mut parts: Vec<Document>) -> Document {
    match parts.len() {
        0 => nothing(),
        1 => parts.remove(0),
        _ => doc! { "$or": parts },
    }
}

fn all_of(mut parts: Vec<Document>) -> Document {
    if parts.len() == 1 {
        parts.remove(0)
    } else {
        doc! { "$and": parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, direction: Direction) -> SortKey {
        SortKey { path: path.into(), direction }
    }

    #[test]
    fn the_id_alone_is_a_range() {
        let query = behind(&[key("_id", Direction::Descending)], &Position(vec![bson!(7)])).unwrap();
        assert_eq!(query, doc! { "_id": { "$lt": 7 } });
    }

    #[test]
    fn behind_a_tie_the_next_key_decides() {
        let keys = [key("a", Direction::Descending), key("_id", Direction::Ascending)];
        let query = behind(&keys, &Position(vec![Bson::Null, bson!(7)])).unwrap();
        let expected = doc! { "$or": [
            { "a": { "$type": ["minKey"] } },
            { "$and": [{ "a": { "$eq": Bson::Null } }, { "_id": { "$gt": 7 } }] },
        ] };
        assert_eq!(query, expected);
    }

    #[test]
    fn a_position_of_another_order_is_refused() {
        let error =
            behind(&[key("_id", Direction::Ascending)], &Position(vec![bson!(1), bson!(2)])).unwrap_err();
        assert_eq!(error.field(), Some("after"));
    }
}
