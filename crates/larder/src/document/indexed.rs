//! Which finds an index carries: the decision, from the fields that the database's indexes begin with.

use std::collections::BTreeSet;

use bson::{Document, doc};

use super::{CompareOp, Direction, Filter, SortKey};

/// The fields that the indexes of one collection begin with, as the database was found to have them. `_id` always is one.
///
/// It tells a find that some index leads to what it wants from one that has to look at every document. It does not plan:
/// which index is taken, and how many documents it still leads to, is the database's matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexedFields {
    leading: BTreeSet<String>,
    searched: BTreeSet<String>,
}

/// Why no index carries a find.
#[derive(Clone, Debug, PartialEq)]
pub struct Unindexed {
    /// The field that is filtered or sorted by, by its dotted path.
    pub field: String,
    /// The keys of an index that would carry it. None would where each condition says what a field is not, or whether it is
    /// there, or where words are one of several alternatives: then another condition has to be added.
    pub keys: Option<Document>,
    /// Whether it is the sort, and not the filter.
    pub is_sort: bool,
}

impl IndexedFields {
    /// Of indexes that begin with these fields, and hold every document in their order.
    pub fn new(fields: impl IntoIterator<Item = String>) -> Self {
        Self { leading: fields.into_iter().collect(), searched: BTreeSet::new() }
    }

    /// Adds the fields whose words an index holds.
    #[must_use]
    pub fn searched(mut self, fields: impl IntoIterator<Item = String>) -> Self {
        self.searched.extend(fields);
        self
    }

    /// Whether an index begins with this field.
    pub fn contains(&self, path: &str) -> bool {
        path == "_id" || self.leading.contains(path)
    }

    /// What a find lacks; `None` if an index carries its filter and one its sort.
    ///
    /// A filter is carried if one of the conditions that all must hold is: it asks for certain values of a field that an index
    /// begins with (equal, greater, less, one of several, a prefix), or for words of a field whose words one holds. Of
    /// alternatives each has to be carried, and words do not carry one: an index of words leads to what all must have. No
    /// filter needs no index. A sort is carried by an index that begins with its first field.
    ///
    /// ```
    /// use larder::document::{Direction, Filter, IndexedFields, SortKey};
    /// let indexed = IndexedFields::new(["price".to_owned()]);
    /// let by = |path: &str| [SortKey { path: path.to_owned(), direction: Direction::Descending }];
    /// assert_eq!(indexed.lacks(&Filter::All, &by("price")), None);
    /// assert_eq!(indexed.lacks(&Filter::All, &by("name")).unwrap().field, "name");
    /// ```
    pub fn lacks(&self, filter: &Filter, sort: &[SortKey]) -> Option<Unindexed> {
        self.filter_lacks(filter).or_else(|| self.sort_lacks(sort.first()?))
    }

    fn filter_lacks(&self, filter: &Filter) -> Option<Unindexed> {
        self.part_lacks(filter, true)
    }

    /// `must_match` says whether every document that is found matches this part.
    fn part_lacks(&self, filter: &Filter, must_match: bool) -> Option<Unindexed> {
        match filter {
            Filter::All => None,
            Filter::And(parts) => {
                let mut lacks = Vec::with_capacity(parts.len());
                for part in parts.iter().filter(|part| !is_everything(part)) {
                    lacks.push(self.part_lacks(part, must_match)?);
                }
                // What an index would mend is said before what none would.
                let mendable = lacks.iter().position(|lack| lack.keys.is_some()).unwrap_or(0);
                (!lacks.is_empty()).then(|| lacks.swap_remove(mendable))
            }
            Filter::Or(parts) if parts.iter().any(is_everything) => None,
            Filter::Or(parts) => parts.iter().find_map(|part| self.part_lacks(part, false)),
            Filter::Compare { path, op: CompareOp::Ne, .. }
            | Filter::NotIn { path, .. }
            | Filter::Exists { path, .. } => {
                Some(Unindexed { field: path.clone(), keys: None, is_sort: false })
            }
            Filter::Compare { path, .. } | Filter::In { path, .. } | Filter::Prefix { path, .. } => {
                let lack = || Unindexed { field: path.clone(), keys: Some(doc! { path: 1 }), is_sort: false };
                (!self.contains(path)).then(lack)
            }
            Filter::Text { path, .. } => {
                let keys = || must_match.then(|| doc! { path: "text" });
                let lack = || Unindexed { field: path.clone(), keys: keys(), is_sort: false };
                (!must_match || !self.searched.contains(path)).then(lack)
            }
        }
    }

    fn sort_lacks(&self, first: &SortKey) -> Option<Unindexed> {
        let SortKey { path, direction } = first;
        let sign = if *direction == Direction::Ascending { 1 } else { -1 };
        let lack =
            || Unindexed { field: path.clone(), keys: Some(doc! { path: sign, "_id": 1 }), is_sort: true };
        (!self.contains(path)).then(lack)
    }
}

/// Whether a filter asks for nothing in particular.
fn is_everything(filter: &Filter) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) => parts.iter().all(is_everything),
        Filter::Or(parts) => parts.iter().any(is_everything),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::document::{Field, FieldType, IdType, QueryParser, Schema};

    /// What the list with these parameters lacks, where the indexes begin with `a` and `b`: its field and keys.
    fn lacks(parameters: &str) -> Option<(String, Option<Document>)> {
        let field = |path| Field::new(path, FieldType::String).filterable().sortable().searchable();
        let schema =
            ["a", "b", "c", "d"].into_iter().map(field).fold(Schema::new("t", IdType::Int), Schema::field);
        let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
        let query = QueryParser::new(&schema).parse(pairs).unwrap();
        let indexed = IndexedFields::new(["a", "b"].map(str::to_owned)).searched(["c".to_owned()]);
        indexed.lacks(&query.filter, &query.sort).map(|lack| (lack.field, lack.keys))
    }

    #[test]
    fn what_an_index_leads_to_is_carried() {
        for parameters in [
            "",
            "limit=5",
            "a=eq.x",
            "a=gt.x",
            "a=gte.x",
            "a=lt.x",
            "a=lte.x",
            "a=in.(x,y)",
            "a=prefix.x",
            "c=text.x",
            "c=text.x&d=text.y",
            "or=(a.eq.x,and(c.text.x,b.eq.y))",
            "a=is.null",
            "_id=gt.5",
            "a=eq.x&c=eq.y",
            "c=ne.y&b=eq.x",
            "a=gt.x&a=lt.y",
            "and=(c.eq.x,a.eq.y)",
            "or=(a.eq.x,b.eq.y)",
            "or=(a.eq.x,and(c.eq.y,_id.eq.1))",
            "a=eq.x&or=(c.eq.y,d.ne.z)",
            "sort=a",
            "sort=-b,c",
            "sort=-_id",
            "sort=_id,c",
            "a=eq.x&sort=b",
        ] {
            assert_eq!(lacks(parameters), None, "{parameters}");
        }
    }

    #[test]
    fn what_no_index_leads_to_is_named_with_the_index_that_would() {
        for (parameters, field, keys) in [
            ("c=eq.x", "c", Some(doc! { "c": 1 })),
            ("c=prefix.x&d=eq.y", "c", Some(doc! { "c": 1 })),
            ("a=text.x", "a", Some(doc! { "a": "text" })),
            ("or=(c.text.x,a.eq.y)", "c", None),
            ("or=(and(c.text.x,a.ne.y),a.eq.y)", "c", None),
            ("or=(and(c.text.x,d.eq.y),a.eq.y)", "d", Some(doc! { "d": 1 })),
            ("a=ne.x", "a", None),
            ("a=nin.(x,y)", "a", None),
            ("a=exists.true", "a", None),
            ("a=not.null", "a", None),
            ("a=ne.x&c=eq.y", "c", Some(doc! { "c": 1 })),
            ("or=(a.eq.x,c.eq.y)", "c", Some(doc! { "c": 1 })),
            ("or=(a.eq.x,b.ne.y)", "b", None),
            ("or=(a.eq.x,and(c.ne.y,d.gt.z))", "d", Some(doc! { "d": 1 })),
            ("and=(c.eq.x,or(a.eq.y,d.eq.z))", "c", Some(doc! { "c": 1 })),
            ("sort=c", "c", Some(doc! { "c": 1, "_id": 1 })),
            ("sort=-c,a", "c", Some(doc! { "c": -1, "_id": 1 })),
            ("a=eq.x&sort=-c", "c", Some(doc! { "c": -1, "_id": 1 })),
            ("d=eq.x&sort=c", "d", Some(doc! { "d": 1 })),
        ] {
            assert_eq!(lacks(parameters), Some((field.to_owned(), keys)), "{parameters}");
        }
    }

    #[test]
    fn no_conditions_are_carried_and_no_alternatives_match_nothing() {
        let indexed = IndexedFields::default();
        for filter in [Filter::And(Vec::new()), Filter::Or(Vec::new()), Filter::Or(vec![Filter::All])] {
            assert_eq!(indexed.lacks(&filter, &[]), None, "{filter:?}");
            let c = Filter::Exists { path: "c".to_owned(), present: true };
            let is_empty_list = filter == Filter::Or(Vec::new());
            let lack = indexed.lacks(&Filter::And(vec![filter, c]), &[]);
            assert_eq!(lack.is_none(), is_empty_list, "what asks for nothing carries nothing: {lack:?}");
        }
    }
}
