//! Merge patches as one update of MongoDB.

use bson::{Bson, Document, doc};

use crate::document::MergePatch;

/// An update that does what a merge patch asks, on documents that meet its condition.
#[derive(Debug, PartialEq)]
pub(super) struct DirectUpdate {
    /// Every document that the patch goes into is one: anywhere else MongoDB's dotted paths would fail or mean an
    /// element of an array.
    pub(super) condition: Document,
    pub(super) update: Document,
}

/// The update of a patch; `None` when it would set nothing by itself, as `{"a": {}}` does, or names what dotted paths
/// cannot name.
pub(super) fn to_update(patch: &MergePatch) -> Option<DirectUpdate> {
    let mut parts = Parts::default();
    parts.take("", patch.changes())?;
    let mut update = Document::new();
    if !parts.set.is_empty() {
        update.insert("$set", parts.set);
    }
    if !parts.unset.is_empty() {
        update.insert("$unset", parts.unset);
    }
    (!update.is_empty()).then_some(DirectUpdate { condition: parts.condition, update })
}

#[derive(Default)]
struct Parts {
    condition: Document,
    set: Document,
    unset: Document,
}

impl Parts {
    fn take(&mut self, prefix: &str, changes: &Document) -> Option<()> {
        for (name, change) in changes {
            if name.is_empty() || name.contains(['.', '$']) {
                return None;
            }
            let path = format!("{prefix}{name}");
            match change {
                Bson::Null => {
                    self.unset.insert(path, "");
                }
                Bson::Document(inner) => {
                    self.condition
                        .insert(path.clone(), doc! { "$type": "object", "$not": { "$type": "array" } });
                    self.take(&format!("{path}."), inner)?;
                }
                value => {
                    self.set.insert(path, value.clone());
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(changes: Document) -> Option<DirectUpdate> {
        to_update(&MergePatch::new(changes).unwrap())
    }

    #[test]
    fn nested_changes_become_dotted_paths_under_a_condition() {
        let direct = update(doc! { "a": 1, "b": { "c": Bson::Null, "d": [{ "e": 1 }] } }).unwrap();
        assert_eq!(direct.update, doc! { "$set": { "a": 1, "b.d": [{ "e": 1 }] }, "$unset": { "b.c": "" } });
        assert_eq!(direct.condition, doc! { "b": { "$type": "object", "$not": { "$type": "array" } } });
    }

    #[test]
    fn what_dotted_paths_cannot_say_is_left_to_the_careful_way() {
        assert_eq!(update(doc! {}), None);
        assert_eq!(update(doc! { "a": {} }), None);
        assert_eq!(update(doc! { "a": { "b.c": 1 } }), None);
        assert_eq!(update(doc! { "$a": 1 }), None);
    }
}
