//! The index of the words of searched fields: a table of SQLite's FTS5 beside the documents, kept in step by triggers.
//!
//! FTS5 holds which terms a document has and where to find that, and none of its text. What a term is, it is not asked: it is given
//! terms, with blanks between. It knows documents by numbers. Ids that are none have one in a table of their own: SQLite
//! changes the numbers of the documents' rows when it compacts the file.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;

use super::{
    connection::Connection,
    table::{Table, literal, marked, quote},
};
use crate::{
    Result,
    document::{
        Field, Filter, IdType, Schema,
        path::{Path, any_leaf},
        raw::Malformed,
        term::{TERM_VERSION, terms},
    },
};

/// So many of the first documents with the words are looked at. Where every eighth of the first documents has them, words are
/// common.
const SAMPLE: i64 = 500;
const COMMON: i64 = 8;

/// The index of one collection's searched fields.
#[derive(Debug)]
pub(super) struct SearchIndex {
    /// The table of the documents, quoted.
    documents: String,
    id_type: IdType,
    /// Names the paths: a change of the declaration makes another index.
    name: String,
    paths: Vec<String>,
}

/// The index as it is asked for the documents that have all the words that a filter demands.
#[derive(Debug)]
pub(super) struct Lead<'a> {
    index: &'a SearchIndex,
    /// The parameter of [`condition`](Self::condition).
    pub(super) words: Value,
}

impl Lead<'_> {
    /// The condition on the id of a document.
    pub(super) fn condition(&self, parameter: &str) -> String {
        let (name, numbers) = (quote(&self.index.name), quote(&self.index.numbers()));
        let rows = format!("SELECT rowid FROM {name} WHERE {name} MATCH {parameter}");
        match self.index.id_type {
            IdType::Int => format!("id IN ({rows})"),
            _ => format!("id IN (SELECT id FROM {numbers} WHERE row IN ({rows}))"),
        }
    }
}

/// Asks the index where it leads to fewer documents than what else the filter says. A page of documents that many have the words
/// of is found sooner in the order that it is asked for.
pub(super) fn lead<'a>(
    connection: &Connection,
    table: &'a Table,
    filter: &Filter,
    is_page: bool,
) -> Result<Option<Lead<'a>>> {
    let Some(index) = table.search.as_ref().filter(|_| !filter.names_ids()) else { return Ok(None) };
    let Some(words) = index.words_of(&filter.demanded_terms()) else { return Ok(None) };
    let leads_nowhere = is_page && index.is_common(connection, &words)?;
    Ok((!leads_nowhere).then_some(Lead { index, words }))
}

impl SearchIndex {
    /// Of a declaration that has searched fields.
    pub(super) fn of(documents: &str, schema: &Schema) -> Option<Self> {
        let searched = schema.fields().iter().filter(|field| field.is_searchable());
        let paths: Vec<String> = searched.map(Field::path).map(str::to_owned).collect();
        let marked: Vec<String> = paths.iter().map(|path| marked(path)).collect();
        let name = format!("{documents}:words{TERM_VERSION}:{}", marked.join(","));
        let index = Self { documents: quote(documents), id_type: schema.id_type(), name, paths };
        (!index.paths.is_empty()).then_some(index)
    }

    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Its name, if it holds the words of this field.
    pub(super) fn name_for(&self, path: &str) -> Option<&str> {
        self.paths.iter().any(|searched| searched == path).then_some(self.name.as_str())
    }

    /// The table that numbers ids that are no numbers.
    fn numbers(&self) -> String {
        format!("{}:ids", self.name)
    }

    /// What FTS5 is asked for, if any of the terms are of fields that are searched.
    fn words_of(&self, demanded: &BTreeMap<&str, BTreeSet<String>>) -> Option<Value> {
        let columns = self.paths.iter().enumerate();
        let asked = columns.filter_map(|(column, path)| {
            let terms = demanded.get(path.as_str()).filter(|terms| !terms.is_empty())?;
            let quoted: Vec<String> = terms.iter().map(|term| format!("\"{}\"", stored(term))).collect();
            Some(format!("(c{column} : ({}))", quoted.join(" AND ")))
        });
        let asked: Vec<String> = asked.collect();
        (!asked.is_empty()).then(|| Value::Text(asked.join(" AND ")))
    }

    /// Whether many of the first documents have the words.
    fn is_common(&self, connection: &Connection, words: &Value) -> Result<bool> {
        let name = quote(&self.name);
        let sql = format!("SELECT rowid FROM {name} WHERE {name} MATCH ?1 LIMIT 1 OFFSET {}", SAMPLE - 1);
        let Some(last) = connection.first::<i64>(&sql, std::slice::from_ref(words))? else {
            return Ok(false);
        };
        let (documents, row) = match self.id_type {
            IdType::Int => (self.documents.clone(), "id"),
            _ => (quote(&self.numbers()), "row"),
        };
        let most = SAMPLE * COMMON;
        let sql = format!("SELECT 1 FROM {documents} WHERE {row} <= ?1 LIMIT 1 OFFSET {most}");
        Ok(connection.first::<i64>(&sql, &[Value::Integer(last)])?.is_none())
    }

    /// Makes it, if it is not there, and fills it.
    pub(super) fn create(&self, connection: &Connection) -> Result<()> {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        match connection.first::<i64>(sql, &[Value::Text(self.name.clone())])? {
            Some(_) => Ok(()),
            // Half an index would find half of the documents.
            None => connection.change_indexes_at_once(&self.to_sql()),
        }
    }

    fn to_sql(&self) -> String {
        let (name, documents, numbers) = (quote(&self.name), &self.documents, quote(&self.numbers()));
        let columns: Vec<String> = (0..self.paths.len()).map(|column| format!("c{column}")).collect();
        let columns = columns.join(", ");
        let trigger = |event: &str| quote(&format!("{}:{event}", self.name));
        let is_number = self.id_type == IdType::Int;
        let row = |document: &str| match is_number {
            true => format!("{document}.id"),
            false => format!("(SELECT row FROM {numbers} WHERE id = {document}.id)"),
        };
        let insert = |document: &str| {
            let words = self.words_in(document);
            format!("INSERT INTO {name} (rowid, {columns}) VALUES ({}, {words});", row(document))
        };
        let delete = format!("DELETE FROM {name} WHERE rowid = {};", row("old"));
        let (inserted, changed) = (insert("new"), self.text_changed());
        let (make, number_all, number, forget) = match is_number {
            true => Default::default(),
            false => (
                format!("CREATE TABLE {numbers} (row INTEGER PRIMARY KEY, id NOT NULL UNIQUE);"),
                format!("INSERT INTO {numbers} (id) SELECT id FROM {documents};"),
                format!("INSERT INTO {numbers} (id) VALUES (new.id);"),
                format!("DELETE FROM {numbers} WHERE id = old.id;"),
            ),
        };
        format!(
            "CREATE VIRTUAL TABLE {name} USING fts5({columns}, content = '', contentless_delete = 1,
                 detail = column, tokenize = 'ascii');
             {make}
             CREATE TRIGGER {} AFTER INSERT ON {documents} BEGIN {number} {inserted} END;
             CREATE TRIGGER {} AFTER UPDATE OF doc ON {documents} WHEN {changed} BEGIN {delete} {inserted} END;
             CREATE TRIGGER {} AFTER DELETE ON {documents} BEGIN {delete} {forget} END;
             {number_all}
             INSERT INTO {name} (rowid, {columns}) SELECT {}, {} FROM {documents};",
            trigger("insert"),
            trigger("update"),
            trigger("delete"),
            row(documents),
            self.words_in(documents),
        )
    }

    fn words_in(&self, document: &str) -> String {
        let words = |path: &String| format!("bson_words({document}.doc, {})", literal(path));
        self.paths.iter().map(words).collect::<Vec<_>>().join(", ")
    }

    /// Whether an update changes a text. Cheaper than to ask whether it changes the words.
    fn text_changed(&self) -> String {
        let changed = |path: &String| {
            let path = literal(path);
            format!("bson_text(old.doc, {path}) IS NOT bson_text(new.doc, {path})")
        };
        self.paths.iter().map(changed).collect::<Vec<_>>().join(" OR ")
    }
}

/// Drops the indexes of words of a collection that are not, or no longer, `wanted`.
pub(super) fn drop_sql(
    connection: &Connection,
    documents: &str,
    wanted: Option<&SearchIndex>,
) -> Result<String> {
    let mut sql = String::new();
    let begin = format!("{documents}:words");
    let kinds = [
        ("TRIGGER", "type = 'trigger'"),
        // The tables that FTS5 makes for itself go with the one that was declared.
        ("TABLE", "type = 'table' AND (sql LIKE 'CREATE VIRTUAL TABLE%' OR name LIKE '%:ids')"),
    ];
    for (kind, condition) in kinds {
        let listed = format!("SELECT name FROM sqlite_master WHERE {condition} AND substr(name, 1, ?1) = ?2");
        let values = [Value::Integer(begin.chars().count() as i64), Value::Text(begin.clone())];
        let mut statement = connection.prepare_cached(&listed)?;
        let names = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
        for name in names.collect::<rusqlite::Result<Vec<String>>>()? {
            if !wanted.is_some_and(|wanted| is_of(&name, &wanted.name)) {
                sql += &format!("DROP {kind} {};\n", quote(&name));
            }
        }
    }
    Ok(sql)
}

/// Whether this is the index of this name, or what belongs to it. A colon in a path is marked, so none of the index's own ends so.
fn is_of(name: &str, index: &str) -> bool {
    let rest = name.strip_prefix(index);
    rest.is_some_and(|rest| ["", ":ids", ":insert", ":update", ":delete"].contains(&rest))
}

/// The words at a path of a document, as FTS5 is given them; none where there is no text.
pub(super) fn words(document: &[u8], path: &Path) -> std::result::Result<Option<String>, Malformed> {
    let mut all = BTreeSet::new();
    each_text(document, path, &mut |text| all.extend(terms(text)))?;
    let mut words = String::new();
    for term in &all {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&stored(term));
    }
    Ok((!words.is_empty()).then_some(words))
}

/// The text at a path of a document, that of an array one after the other, to be compared with another.
pub(super) fn text(document: &[u8], path: &Path) -> std::result::Result<Option<Vec<u8>>, Malformed> {
    let mut all = Vec::new();
    each_text(document, path, &mut |text| {
        all.extend_from_slice(text.as_bytes());
        // In no text.
        all.push(u8::MAX);
    })?;
    Ok((!all.is_empty()).then_some(all))
}

fn each_text(document: &[u8], path: &Path, take: &mut dyn FnMut(&str)) -> std::result::Result<(), Malformed> {
    any_leaf(document, path, &mut |leaf| {
        if let Some(value) = leaf.string() {
            take(value.text()?);
        }
        Ok(false)
    })?;
    Ok(())
}

/// A term with nothing in it that FTS5 would cut it at: terms that become one are told apart by `bson_match`.
fn stored(term: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || !letter.is_ascii();
    term.chars().map(|letter| if plain(letter) { letter } else { 'x' }).collect()
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc, oid::ObjectId};

    use super::*;
    use crate::document::{
        Database, Expect, FieldType, Filter, Find, Id, IdType, MergePatch,
        sqlite::{
            tests::{raw, walk},
            write::{self, OnTaken},
        },
        store::Store,
    };

    fn schema(id_type: IdType, searched: &[&str]) -> Schema {
        let field = |path: &&str| Field::new(*path, FieldType::String).searchable();
        searched.iter().map(field).fold(Schema::new("things", id_type), Schema::field)
    }

    fn search(path: &str, text: &str) -> Filter {
        Filter::Text { path: path.into(), text: text.into() }
    }

    async fn found(store: &Store, filter: Filter) -> Vec<Bson> {
        let documents = walk(store, Find::new(filter, 10)).await;
        documents.iter().map(|document| document.get("_id").unwrap().clone()).collect()
    }

    fn ids(id_type: IdType) -> [Id; 3] {
        [1_u8, 2, 3].map(|number| match id_type {
            IdType::Int => Id::Int(number.into()),
            IdType::String => Id::String(format!("id {number}")),
            IdType::ObjectId => Id::ObjectId(ObjectId::from_bytes([number; 12])),
        })
    }

    #[tokio::test]
    async fn every_write_is_found_by_its_words_and_no_longer_by_the_words_before() {
        for id_type in [IdType::Int, IdType::String, IdType::ObjectId] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.sqlite");
            let open = async || Database::sqlite(&path).await.unwrap();
            let store = open().await.store(schema(id_type, &["a", "b"]).into()).unwrap();
            let ids = ids(id_type);
            let put = async |which: usize, fields: Document| {
                let mut whole = doc! { "_id": Bson::from(&ids[which]) };
                whole.extend(fields);
                let outcomes = store.put_many(vec![(ids[which].clone(), raw(&whole))]).await.unwrap();
                assert!(outcomes.iter().all(Result::is_ok));
            };
            let finds = async |text: &str, expected: &[usize]| {
                let expected: Vec<Bson> = expected.iter().map(|which| Bson::from(&ids[*which])).collect();
                assert_eq!(found(&store, search("a", text)).await, expected, "{id_type:?} {text}");
            };
            // Before there is an index.
            put(0, doc! { "a": "Red wool" }).await;
            put(1, doc! { "a": "red cotton", "b": "wool" }).await;
            finds("red", &[0, 1]).await;
            finds("wool", &[0]).await;
            put(2, doc! { "a": "green WOOL" }).await;
            finds("wool", &[0, 2]).await;
            put(0, doc! { "a": "red silk" }).await;
            finds("wool", &[2]).await;
            finds("silk", &[0]).await;
            // SQLite numbers rows anew where the id is not the number.
            store.delete(&ids[0], &Expect::Any).await.unwrap();
            rusqlite::Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
            finds("red", &[1]).await;
            let patch = MergePatch::new(doc! { "a": "linen" }).unwrap();
            store.patch(&ids[1], &patch, &Expect::Any).await.unwrap();
            finds("red", &[]).await;
            finds("linen", &[1]).await;
            finds("wool", &[2]).await;
        }
    }

    #[tokio::test]
    async fn another_declaration_has_another_index_and_none_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.sqlite");
        let tables = || {
            let sqlite = rusqlite::Connection::open(&path).unwrap();
            let sql = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'doc_things:words%'
                       AND (type = 'trigger' OR sql LIKE 'CREATE VIRTUAL%' OR name LIKE '%:ids')";
            sqlite.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        let odd = [&["a", "b"][..], &["a,b"], &["a:insert"], &["a"], &["a:insert"], &["A"], &["'\"é"]];
        let declared = [&["a"][..], &["a", "b"], &["b"], &[], &["a"], &["a", "b"], &[]];
        for (step, searched) in declared.into_iter().chain(odd).enumerate() {
            let database = Database::sqlite(&path).await.unwrap();
            let store = database.store(schema(IdType::String, searched).into()).unwrap();
            // Of each there are some from before the index, and some since.
            for (more, when) in ["before", "since"].into_iter().enumerate() {
                let (id, all) = (format!("{step:02} {when}"), step * 2 + more + 1);
                let mut document = doc! { "_id": &id };
                document.extend(
                    ["a", "b", "a,b", "a:insert", "A", "'\"é"].map(|path| (path.to_owned(), "x".into())),
                );
                store.put_many(vec![(Id::String(id), raw(&document))]).await.unwrap();
                for path in searched {
                    assert_eq!(found(&store, search(path, "x")).await.len(), all, "{step}: {searched:?}");
                }
                assert_eq!(found(&store, Filter::All).await.len(), all);
            }
            assert_eq!(tables(), if searched.is_empty() { 0 } else { 5 }, "{searched:?}");
        }
    }

    #[test]
    fn a_page_of_what_many_documents_have_is_not_looked_up() {
        for id_type in [IdType::Int, IdType::String] {
            let table = Table::new(&schema(id_type, &["a"]));
            let mut connection = Connection::open_in_memory().unwrap();
            table.create(&mut connection).unwrap();
            let document = |number: i64| {
                let id =
                    if id_type == IdType::Int { Id::Int(number) } else { Id::String(number.to_string()) };
                let rare = if number % 20 == 0 { "rare" } else { "" };
                (id.clone(), raw(&doc! { "_id": Bson::from(&id), "a": format!("common {rare}") }))
            };
            let documents: Vec<_> = (0..12_000).map(document).collect();
            write::many(&mut connection, &table, &documents, OnTaken::Refuse).unwrap();
            table.create_indexes(&mut connection).unwrap();
            let leads = |text: &str, is_page| {
                lead(&connection, &table, &search("a", text), is_page).unwrap().is_some()
            };
            assert!(!leads("common", true) && leads("common", false), "{id_type:?}");
            assert!(
                leads("rare", true) && leads("common rare", true) && leads("absent", true),
                "{id_type:?}"
            );
        }
    }
}
