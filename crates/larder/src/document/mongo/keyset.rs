//! Pages by position: what comes behind a document in an order, as a query.
//!
//! MongoDB's comparisons keep within the type of their operand, while its order goes across all types. So "behind" is the
//! rest of the position's own type and all of the types that follow it; an absent field counts as null.
//!
//! A document with an array at the path stands where its smallest element does, or its largest in a descending order.
//! "Behind" then means that no element is at or before the position, which is why each condition comes twice: some value
//! is behind, which an index can serve, and none is not, which is exact.

use std::ops::Range;

use bson::{Bson, Document, bson, doc, spec::ElementType};

use super::filter::nothing;
use crate::{
    Error, Result,
    document::{Direction, Position, SortKey},
};

/// The types in MongoDB's order, by the names that `$type` knows. An empty array has the place of "undefined", a type that
/// is long out of use like others that are left out here; scripts are as well.
const CLASSES: [&[&str]; 12] = [
    &["minKey"],
    &[],
    &[],
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
const UNDEFINED: usize = 1;
const NULL: usize = 2;
const NUMBER: usize = 3;

fn class_of(value: &Bson) -> usize {
    match value.element_type() {
        ElementType::MinKey => 0,
        ElementType::Undefined => UNDEFINED,
        ElementType::Null => NULL,
        ElementType::Int32 | ElementType::Int64 | ElementType::Double | ElementType::Decimal128 => NUMBER,
        ElementType::String | ElementType::Symbol => 4,
        ElementType::EmbeddedDocument | ElementType::Array => 5,
        ElementType::Binary => 6,
        ElementType::ObjectId => 7,
        ElementType::Boolean => 8,
        ElementType::DateTime => 9,
        ElementType::Timestamp => 10,
        _ => 11,
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
        all.extend(behind_one(key, value));
        alternatives.push(all_of(all));
        ties.extend(level_with(key, value));
    }
    Ok(one_of(alternatives))
}

/// What some value must meet that is behind `value`, and that no value is level with it or before it.
fn behind_one(key: &SortKey, value: &Bson) -> Vec<Document> {
    let path = &key.path;
    let ascending = key.direction == Direction::Ascending;
    // Ids are of one type and no arrays, and a plain range is what the index on them serves best.
    if path == "_id" {
        let operator = if ascending { "$gt" } else { "$lt" };
        return vec![doc! { path: { operator: value.clone() } }];
    }
    let (behind, before) = if ascending {
        (above(path, value), below(path, value))
    } else {
        (below(path, value), above(path, value))
    };
    if behind.is_empty() {
        return vec![nothing()];
    }
    let at_or_before = before.into_iter().chain([at(path, value)]).collect();
    vec![one_of(behind), none_of(at_or_before)]
}

/// What a document must meet that stands at `value`: it has it, and nothing before it.
fn level_with(key: &SortKey, value: &Bson) -> Vec<Document> {
    let path = &key.path;
    let before = match key.direction {
        Direction::Ascending => below(path, value),
        Direction::Descending => above(path, value),
    };
    let mut all = vec![at(path, value)];
    if path != "_id" && !before.is_empty() {
        all.push(none_of(before));
    }
    all
}

fn at(path: &str, value: &Bson) -> Document {
    match class_of(value) {
        UNDEFINED => doc! { path: { "$eq": [] } },
        NULL => null_at(path),
        _ => doc! { path: { "$eq": value.clone() } },
    }
}

/// What stands at null in an order. Below an empty array there is nothing, which MongoDB sorts as null and does not find by it.
fn null_at(path: &str) -> Document {
    let is_null = doc! { path: { "$eq": Bson::Null } };
    match path.contains('.') {
        true => doc! { "$or": [is_null, { path: { "$exists": false } }] },
        false => is_null,
    }
}

/// Conditions of which a value above `value` meets one.
fn above(path: &str, value: &Bson) -> Vec<Document> {
    let class = class_of(value);
    let mut parts = Vec::new();
    if is_nan(value) {
        // Not a number is below all numbers and compares with none.
        parts.push(doc! { path: { "$gte": f64::NEG_INFINITY } });
    } else if class >= NUMBER {
        parts.push(doc! { path: { "$gt": value.clone() } });
    }
    parts.extend(of_classes(path, class + 1..CLASSES.len()));
    parts
}

/// Conditions of which a value below `value` meets one.
fn below(path: &str, value: &Bson) -> Vec<Document> {
    let class = class_of(value);
    let mut parts = Vec::new();
    if class >= NUMBER && !is_nan(value) {
        parts.push(doc! { path: { "$lt": value.clone() } });
        if class == NUMBER {
            parts.push(doc! { path: { "$eq": f64::NAN } });
        }
    }
    parts.extend(of_classes(path, 0..class));
    parts
}

fn of_classes(path: &str, classes: Range<usize>) -> Vec<Document> {
    let mut parts = Vec::new();
    if classes.contains(&UNDEFINED) {
        parts.push(doc! { path: { "$eq": [] } });
    }
    if classes.contains(&NULL) {
        parts.push(null_at(path));
    }
    let names: Vec<Bson> = CLASSES[classes].iter().copied().flatten().map(|name| bson!(*name)).collect();
    if !names.is_empty() {
        parts.push(doc! { path: { "$type": names } });
    }
    parts
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

fn none_of(parts: Vec<Document>) -> Document {
    doc! { "$nor": parts }
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
        let query = behind(&keys, &Position(vec![Bson::MinKey, bson!(7)])).unwrap();
        let tie = query.get_array("$or").unwrap()[1].as_document().unwrap().get_array("$and").unwrap();
        assert_eq!(tie[0], bson!({ "a": { "$eq": Bson::MinKey } }));
        assert_eq!(tie.last(), Some(&bson!({ "_id": { "$gt": 7 } })));
        assert_eq!(query.get_array("$or").unwrap()[0], Bson::from(nothing()), "nothing is below the lowest");
    }

    /// A document with an empty array on the way has its place at null, which a condition for null alone does not find.
    #[test]
    fn what_has_nothing_below_an_empty_array_is_found_at_null() {
        let absent = doc! { "offers.price": { "$exists": false } };
        for (direction, value) in [(Direction::Descending, bson!(1)), (Direction::Descending, Bson::Null)] {
            let keys = [key("offers.price", direction), key("_id", Direction::Ascending)];
            let query = behind(&keys, &Position(vec![value.clone(), bson!(7)])).unwrap();
            assert!(format!("{query:?}").contains(&format!("{absent:?}")), "{value:?}: {query:?}");
        }
        let flat = behind(&[key("price", Direction::Descending)], &Position(vec![bson!(1)])).unwrap();
        assert!(!format!("{flat:?}").contains("$exists"), "there is no way to it: {flat:?}");
    }

    #[test]
    fn a_position_of_another_order_is_refused() {
        let error =
            behind(&[key("_id", Direction::Ascending)], &Position(vec![bson!(1), bson!(2)])).unwrap_err();
        assert_eq!(error.field(), Some("after"));
    }
}
