//! Dotted paths through documents and arrays, as MongoDB walks them.

use bson::spec::ElementType;

use super::{
    find::Direction,
    order,
    raw::{self, Element, Malformed, Value},
};

/// A dotted path, split once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Box<str>>);

impl Path {
    pub(crate) fn new(dotted: &str) -> Self {
        Self(dotted.split('.').map(Box::from).collect())
    }

    pub(crate) fn parts(&self) -> &[Box<str>] {
        &self.0
    }
}

/// Whether the dotted path is `root` or lies below it.
pub(crate) fn is_within(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf<'a> {
    /// Nothing does.
    Absent,
    /// A value that stands there itself.
    Whole(Value<'a>),
    /// An element of the array that stands there.
    Element(Value<'a>),
}

impl<'a> Leaf<'a> {
    pub(crate) fn value(self) -> Option<Value<'a>> {
        match self {
            Self::Absent => None,
            Self::Whole(value) | Self::Element(value) => Some(value),
        }
    }

    /// The value, if it is a string.
    pub(crate) fn string(self) -> Option<Value<'a>> {
        self.value().filter(|value| value.kind == ElementType::String)
    }
}

/// Whether any leaf at `path` satisfies `test`. Arrays on the way are entered; an array at the end counts as itself and as
/// each of its elements.
pub(crate) fn any_leaf<'a>(
    document: &'a [u8],
    path: &Path,
    test: &mut dyn FnMut(Leaf<'a>) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    walk(document, path.parts(), test)
}

fn walk<'a>(
    document: &'a [u8],
    parts: &[Box<str>],
    test: &mut dyn FnMut(Leaf<'a>) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    let Some((first, rest)) = parts.split_first() else { return Ok(false) };
    match raw::find(document, first.as_bytes())? {
        None => test(Leaf::Absent),
        Some(value) if rest.is_empty() => test_end(value, test),
        Some(value) if value.is_document() => walk(value.bytes, rest, test),
        Some(value) if value.is_array() => walk_array(value, rest, test),
        Some(_) => test(Leaf::Absent),
    }
}

fn test_end<'a>(
    value: Value<'a>,
    test: &mut dyn FnMut(Leaf<'a>) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    if value.is_array() {
        for element in value.elements()? {
            if test(Leaf::Element(element?.value))? {
                return Ok(true);
            }
        }
    }
    test(Leaf::Whole(value))
}

/// Elements that are no documents have no fields, and do not count as absent either.
fn walk_array<'a>(
    array: Value<'a>,
    rest: &[Box<str>],
    test: &mut dyn FnMut(Leaf<'a>) -> Result<bool, Malformed>,
) -> Result<bool, Malformed> {
    let position = rest[0].parse::<usize>().ok();
    for (index, element) in array.elements()?.enumerate() {
        let Element { value, .. } = element?;
        if value.is_document() && walk(value.bytes, rest, test)? {
            return Ok(true);
        }
        if position == Some(index) {
            let found = match &rest[1..] {
                [] => test_end(value, test)?,
                rest if value.is_document() => walk(value.bytes, rest, test)?,
                rest if value.is_array() => walk_array(value, rest, test)?,
                _ => false,
            };
            if found {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The value a document is sorted by at this path, with its order key.
pub(crate) struct SortValue<'a> {
    /// `None` for absent; an empty array has no value either but sorts below null.
    pub(crate) value: Option<Value<'a>>,
    pub(crate) key: Vec<u8>,
}

/// The value a document is sorted by: the smallest element of an array when ascending, the largest when descending.
pub(crate) fn sort_value<'a>(
    document: &'a [u8],
    path: &Path,
    direction: Direction,
) -> Result<SortValue<'a>, Malformed> {
    let mut best: Option<SortValue<'a>> = None;
    any_leaf(document, path, &mut |leaf| {
        let value = match leaf {
            Leaf::Whole(array) if array.is_array() => match array.elements()?.next() {
                // The elements have been seen one by one.
                Some(_) => return Ok(false),
                None => Some(Value { kind: bson::spec::ElementType::Undefined, bytes: &[] }),
            },
            other => other.value(),
        };
        let key = order::key_of(value)?;
        let better = best.as_ref().is_none_or(|best| match direction {
            Direction::Ascending => key < best.key,
            Direction::Descending => key > best.key,
        });
        if better {
            best = Some(SortValue { value, key });
        }
        Ok(false)
    })?;
    match best {
        Some(best) => Ok(best),
        None => Ok(SortValue { value: None, key: order::key_of(None)? }),
    }
}

/// Whether an array stands on the way to, or at the end of, this path: then one document has several values there.
pub(crate) fn meets_array(document: &[u8], path: &Path) -> Result<bool, Malformed> {
    let mut current = document;
    for part in path.parts() {
        match raw::find(current, part.as_bytes())? {
            Some(value) if value.is_array() => return Ok(true),
            Some(value) if value.is_document() => current = value.bytes,
            _ => return Ok(false),
        }
    }
    Ok(false)
}
