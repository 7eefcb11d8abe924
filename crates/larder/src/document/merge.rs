//! Merge patches (RFC 7396): a document that says what changes.

use bson::{Bson, Document, RawDocument, RawDocumentBuf};

use super::Schema;
use crate::{Error, Result};

/// A change of some fields of a document, typed like the document itself.
///
/// A field in the patch replaces the document's field; a document in the patch is merged into the document's; null
/// removes the field. Arrays are replaced as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct MergePatch {
    pub(crate) changes: Document,
}

impl MergePatch {
    /// A patch from typed values.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `_id`, which never changes.
    pub fn new(changes: Document) -> Result<Self> {
        if changes.contains_key("_id") {
            return Err(Error::invalid("_id", "cannot be changed"));
        }
        Ok(Self { changes })
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What the patch asks for, as a document.
    pub fn changes(&self) -> &Document {
        &self.changes
    }

    /// Whether it may change what stands at this dotted path: whether it goes into the field whose name the path begins with.
    pub fn touches(&self, path: &str) -> bool {
        path.split('.').next().is_some_and(|first| self.changes.contains_key(first))
    }

    /// The patched document. Fields that stay keep their place; new ones come last.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming a required field that is not in the patched document, and was, or whose object was not there
    /// before. A document that lacked one already may be patched all the same.
    pub(crate) fn apply(&self, raw: &RawDocument, schema: &Schema) -> Result<RawDocumentBuf> {
        let before = Document::try_from(raw).map_err(|_| super::raw::Malformed)?;
        let mut after = before.clone();
        merge(&mut after, &self.changes);
        if let Some(path) = schema.shape().missing_in(&after)
            && schema.shape().missing_in(&before).is_none()
        {
            return Err(Error::invalid(path, "is required"));
        }
        super::write::to_raw(&after)
    }
}

fn merge(target: &mut Document, changes: &Document) {
    for (name, change) in changes {
        match change {
            Bson::Null => {
                target.remove(name);
            }
            Bson::Document(changes) => {
                let mut inner = match target.get_mut(name) {
                    Some(Bson::Document(inner)) => std::mem::take(inner),
                    _ => Document::new(),
                };
                merge(&mut inner, changes);
                target.insert(name, inner);
            }
            value => {
                target.insert(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn null_removes_documents_merge_and_arrays_are_replaced() {
        let mut document = doc! { "_id": 1, "a": 1, "b": { "c": 1, "d": 2 }, "e": [1, 2], "f": 5 };
        let changes = doc! { "a": Bson::Null, "b": { "c": Bson::Null, "x": 3 }, "e": [3], "f": { "g": Bson::Null, "h": 1 } };
        merge(&mut document, &changes);
        assert_eq!(document, doc! { "_id": 1, "b": { "d": 2, "x": 3 }, "e": [3], "f": { "h": 1 } });
    }
}
