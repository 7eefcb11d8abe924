//! What a role sees of a document: the fields it may read, and of those the ones it asked for.

use bson::{RawArray, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};

use crate::{config::is_within, routes::Refusal};

/// Which fields of a collection a role may see. `_id` is always seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    only: Option<Vec<String>>,
    hide: Vec<String>,
    /// What is in it whatever else is said.
    also: Vec<String>,
}

impl View {
    pub(crate) fn new(only: Option<Vec<String>>, hide: Vec<String>) -> Self {
        Self { only, hide, also: Vec::new() }
    }

    /// This view, for writing, with these paths in it.
    pub(crate) fn with<'a>(mut self, also: impl Iterator<Item = &'a str>) -> Self {
        self.also.extend(also.map(ToOwned::to_owned));
        self
    }

    /// Whether every field is seen: the cached text can be sent as it is.
    pub(crate) fn is_whole(&self) -> bool {
        self.only.is_none() && self.hide.is_empty()
    }

    /// Whether this path, all of it, is seen. Only such a path may be filtered or sorted by: anything else would tell
    /// its value without showing it.
    pub(crate) fn sees(&self, path: &str) -> bool {
        path == "_id"
            || self.also.iter().any(|also| is_within(path, also))
            || (self.only.as_ref().is_none_or(|only| only.iter().any(|seen| is_within(path, seen)))
                && !self.hide.iter().any(|hidden| is_within(path, hidden) || is_within(hidden, path)))
    }

    /// Whether this path, or something below it, is seen.
    pub(crate) fn sees_some(&self, path: &str) -> bool {
        let is_listed =
            |only: &Vec<String>| only.iter().any(|seen| is_within(path, seen) || is_within(seen, path));
        self.only.as_ref().is_none_or(is_listed) && !self.hide.iter().any(|hidden| is_within(path, hidden))
    }

    /// This view, cut down to the asked fields. Asking for what is not seen gives nothing.
    pub(crate) fn narrow(&self, asked: &[String]) -> Narrowed<'_> {
        Narrowed { view: self, asked: Some(asked.to_vec()) }
    }

    /// The parts of a document that are seen.
    ///
    /// # Errors
    /// The bytes are not BSON; they come from the database, so that is the server's own failure.
    pub(crate) fn cut(&self, document: &RawDocument) -> Result<RawDocumentBuf, Refusal> {
        Narrowed { view: self, asked: None }.cut(document)
    }
}

/// A view and the fields that one request asked for.
#[derive(Debug)]
pub(crate) struct Narrowed<'a> {
    view: &'a View,
    asked: Option<Vec<String>>,
}

/// What happens to a value at some path.
enum Fate {
    Kept,
    Dropped,
    /// Something below it is dropped.
    CutInside,
}

impl Narrowed<'_> {
    /// The parts of a document that are both asked for and seen.
    ///
    /// # Errors
    /// As [`View::cut`].
    pub(crate) fn cut(&self, document: &RawDocument) -> Result<RawDocumentBuf, Refusal> {
        self.cut_document(document, &mut String::new()).map_err(|error| {
            let corrupt = larder::Error::new(larder::ErrorKind::Corrupt, "read a document's fields");
            corrupt.with_source(error).into()
        })
    }

    fn fate_of(&self, path: &str) -> Fate {
        if path == "_id" {
            return Fate::Kept;
        }
        let mut cut_inside = false;
        for list in [self.view.only.as_deref(), self.asked.as_deref()].into_iter().flatten() {
            if list.iter().any(|kept| is_within(path, kept)) {
                continue;
            }
            if !list.iter().any(|kept| is_within(kept, path)) {
                return Fate::Dropped;
            }
            cut_inside = true;
        }
        for hidden in &self.view.hide {
            if is_within(path, hidden) {
                return Fate::Dropped;
            }
            cut_inside |= is_within(hidden, path);
        }
        if cut_inside { Fate::CutInside } else { Fate::Kept }
    }

    fn cut_document(&self, document: &RawDocument, path: &mut String) -> bson::error::Result<RawDocumentBuf> {
        let mut kept = RawDocumentBuf::new();
        for element in document {
            let (key, value) = element?;
            let parent_len = path.len();
            if parent_len > 0 {
                path.push('.');
            }
            path.push_str(key.as_str());
            match self.fate_of(path) {
                Fate::Dropped => {}
                Fate::Kept => kept.append(key, value),
                Fate::CutInside => {
                    if let Some(value) = self.cut_value(value, path)? {
                        kept.append(key, value);
                    }
                }
            }
            path.truncate(parent_len);
        }
        Ok(kept)
    }

    /// What is left of a value of which something is dropped. A scalar there is not what was declared: it is dropped.
    fn cut_value(&self, value: RawBsonRef<'_>, path: &mut String) -> bson::error::Result<Option<RawBson>> {
        match value {
            RawBsonRef::Document(document) => Ok(Some(RawBson::Document(self.cut_document(document, path)?))),
            RawBsonRef::Array(array) => Ok(Some(RawBson::Array(self.cut_array(array, path)?))),
            _ => Ok(None),
        }
    }

    fn cut_array(&self, array: &RawArray, path: &mut String) -> bson::error::Result<RawArrayBuf> {
        let mut kept = RawArrayBuf::new();
        for element in array {
            if let Some(element) = self.cut_value(element?, path)? {
                kept.push(element);
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn check(view: &View, asked: Option<&[&str]>, expected: &Document) {
        let document = doc! {
            "_id": 1, "name": "a", "cost": 5, "maker": { "country": "NL", "margin": 3 },
            "offers": [{ "price": 1, "margin": 2 }, { "price": 4 }, 7],
        };
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let cut = match asked {
            Some(asked) => view.narrow(&names(asked)).cut(&raw).unwrap(),
            None => view.cut(&raw).unwrap(),
        };
        assert_eq!(&Document::try_from(&*cut).unwrap(), expected);
    }

    #[test]
    fn hidden_fields_are_cut_at_every_depth() {
        let view = View::new(None, names(&["cost", "maker.margin", "offers.margin"]));
        let offers = bson::bson!([{ "price": 1 }, { "price": 4 }]);
        check(&view, None, &doc! { "_id": 1, "name": "a", "maker": { "country": "NL" }, "offers": offers });
        check(&view, Some(&["cost", "maker"]), &doc! { "_id": 1, "maker": { "country": "NL" } });
        for (path, seen) in
            [("cost", false), ("cost.x", false), ("maker", false), ("maker.country", true), ("costs", true)]
        {
            assert_eq!(view.sees(path), seen, "{path}");
        }
    }

    #[test]
    fn only_listed_fields_are_seen() {
        let view = View::new(Some(names(&["name", "maker.country"])), Vec::new());
        check(&view, None, &doc! { "_id": 1, "name": "a", "maker": { "country": "NL" } });
        check(&view, Some(&["cost"]), &doc! { "_id": 1 });
        check(&view, Some(&["maker"]), &doc! { "_id": 1, "maker": { "country": "NL" } });
        for (path, seen) in
            [("_id", true), ("name", true), ("cost", false), ("maker", false), ("maker.country", true)]
        {
            assert_eq!(view.sees(path), seen, "{path}");
        }
    }
}
