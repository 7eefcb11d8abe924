//! Include-only projections of raw documents.

use std::collections::BTreeMap;

use bson::{RawDocument, RawDocumentBuf, spec::ElementType};

use super::raw::{Element, Elements, MAX_RAW_DEPTH, Malformed, Value};

/// The paths to keep, as a tree. `_id` is always kept, and the order of the document's fields stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projection {
    /// Everything from here down is kept.
    whole: bool,
    children: BTreeMap<Box<[u8]>, Projection>,
}

impl Projection {
    pub(crate) fn new(paths: &[String]) -> Self {
        let mut root = Self::default();
        for path in paths.iter().map(String::as_str).chain(["_id"]) {
            let mut node = &mut root;
            for part in path.split('.') {
                node = node.children.entry(part.as_bytes().into()).or_default();
            }
            node.whole = true;
        }
        root
    }

    /// The kept part of `document`.
    pub(crate) fn apply(&self, document: &RawDocument) -> Result<RawDocumentBuf, Malformed> {
        let mut bytes = Vec::with_capacity(document.as_bytes().len());
        self.write(document.as_bytes(), &mut bytes, 0)?;
        RawDocumentBuf::from_bytes(bytes).map_err(|_| Malformed)
    }

    fn write(&self, document: &[u8], out: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let start = begin(out, depth)?;
        for element in Elements::of(document)? {
            let element = element?;
            match self.children.get(element.name) {
                None => {}
                Some(child) if child.whole => out.extend_from_slice(element.bytes),
                Some(child) => child.write_inner(&element, out, depth)?,
            }
        }
        end(start, out);
        Ok(())
    }

    /// A path that goes on: documents and arrays are entered, a scalar has nothing below it and is left out.
    fn write_inner(&self, element: &Element<'_>, out: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let header = element.bytes.len() - element.value.bytes.len();
        match element.value.kind {
            ElementType::EmbeddedDocument => {
                out.extend_from_slice(&element.bytes[..header]);
                self.write(element.value.bytes, out, depth + 1)
            }
            ElementType::Array => {
                out.extend_from_slice(&element.bytes[..header]);
                self.write_array(element.value, out, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn write_array(&self, array: Value<'_>, out: &mut Vec<u8>, depth: u32) -> Result<(), Malformed> {
        let start = begin(out, depth)?;
        let mut kept = 0;
        for element in array.elements()? {
            let value = element?.value;
            if !value.is_document() && !value.is_array() {
                continue;
            }
            out.push(value.kind as u8);
            out.extend_from_slice(itoa::Buffer::new().format(kept).as_bytes());
            out.push(0);
            if value.is_document() {
                self.write(value.bytes, out, depth + 1)?;
            } else {
                self.write_array(value, out, depth + 1)?;
            }
            kept += 1;
        }
        end(start, out);
        Ok(())
    }
}

fn begin(out: &mut Vec<u8>, depth: u32) -> Result<usize, Malformed> {
    if depth > MAX_RAW_DEPTH {
        return Err(Malformed);
    }
    out.extend_from_slice(&[0; 4]);
    Ok(out.len() - 4)
}

fn end(start: usize, out: &mut Vec<u8>) {
    out.push(0);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    fn project(document: &Document, paths: &[&str]) -> Document {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let raw = RawDocumentBuf::try_from(document).unwrap();
        Document::try_from(Projection::new(&paths).apply(&raw).unwrap()).unwrap()
    }

    #[test]
    fn kept_paths_stay_in_the_documents_order() {
        let document = doc! { "_id": 1, "z": 1, "a": { "b": 1, "c": 2 }, "s": 5, "y": 1 };
        assert_eq!(project(&document, &["a.c", "z", "s.x"]), doc! { "_id": 1, "z": 1, "a": { "c": 2 } });
    }

    #[test]
    fn arrays_of_documents_are_entered_and_scalars_in_them_left_out() {
        let document = doc! { "_id": 1, "a": [{ "b": 1, "c": 2 }, 3, { "c": 4 }, [{ "b": 5 }]] };
        assert_eq!(project(&document, &["a.b"]), doc! { "_id": 1, "a": [{ "b": 1 }, {}, [{ "b": 5 }]] });
    }

    #[test]
    fn the_wider_of_two_paths_wins() {
        let document = doc! { "_id": 1, "a": { "b": 1, "c": 2 } };
        assert_eq!(project(&document, &["a", "a.b"]), document);
    }
}
