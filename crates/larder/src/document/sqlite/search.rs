//! The index of the words of searched fields: a table of SQLite's FTS5 beside the documents, kept in step by triggers.
//!
//! FTS5 holds which terms a document has and where to find that, and none of its text. What a term is, it is not asked: it is given
//! terms, with blanks between.

use std::collections::BTreeSet;

use bson::spec::ElementType;
use rusqlite::types::{Value, ValueRef};

use super::{
    connection::Connection,
    table::{literal, marked, quote},
};
use crate::{
    Result,
    document::{
        Field, Schema,
        path::{Path, any_leaf},
        raw::Malformed,
        term::{TERM_VERSION, terms},
    },
};

/// The index of one collection's searched fields.
#[derive(Debug)]
pub(super) struct SearchIndex {
    /// The table of the documents, unquoted.
    documents: String,
    /// Names the paths: a change of the declaration makes another index.
    name: String,
    paths: Vec<String>,
}

impl SearchIndex {
    /// Of a declaration that has searched fields.
    pub(super) fn of(documents: &str, schema: &Schema) -> Option<Self> {
        let searched = schema.fields().iter().filter(|field| field.is_searchable());
        let paths: Vec<String> = searched.map(Field::path).map(str::to_owned).collect();
        let name = format!("{documents}:words{TERM_VERSION}:{}", marked(&paths.join(",")));
        (!paths.is_empty()).then(|| Self { documents: documents.to_owned(), name, paths })
    }

    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Its name, if it holds the words of this field.
    pub(super) fn name_for(&self, path: &str) -> Option<&str> {
        self.column(path).map(|_| self.name.as_str())
    }

    fn column(&self, path: &str) -> Option<usize> {
        self.paths.iter().position(|searched| searched == path)
    }

    /// The ids of the documents that have these terms in this field, as a query with one parameter.
    pub(super) fn ids_with(&self, path: &str, terms: &BTreeSet<String>) -> Option<(String, Value)> {
        let column = self.column(path)?;
        let quoted: Vec<String> = terms.iter().map(|term| format!("\"{}\"", stored(term))).collect();
        let demand = format!("c{column} : ({})", quoted.join(" AND "));
        let name = quote(&self.name);
        Some((format!("SELECT id FROM {name} WHERE {name} MATCH"), Value::Text(demand)))
    }

    /// Makes it, if it is not there, and fills it.
    pub(super) fn create(&self, connection: &mut Connection) -> Result<()> {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        match connection.first::<i64>(sql, &[Value::Text(self.name.clone())])? {
            Some(_) => Ok(()),
            // Half an index would find half of the documents.
            None => connection.change_indexes_at_once(&self.to_sql()),
        }
    }

    fn to_sql(&self) -> String {
        let (name, documents) = (quote(&self.name), quote(&self.documents));
        let columns: Vec<String> = (0..self.paths.len()).map(|column| format!("c{column}")).collect();
        let columns = columns.join(", ");
        let trigger = |event: &str| quote(&format!("{}:{event}", self.name));
        let insert = |row: &str| {
            let words = self.words_of(row);
            format!(
                "INSERT OR REPLACE INTO {name} (rowid, id, {columns}) VALUES (bson_row({row}.id), {row}.id, {words});"
            )
        };
        let delete = format!("DELETE FROM {name} WHERE rowid = bson_row(old.id);");
        let (created, changed) = (insert("new"), self.words_changed());
        let words = self.words_of(&documents);
        format!(
            "CREATE VIRTUAL TABLE {name} USING fts5(id UNINDEXED, {columns}, content = '', contentless_delete = 1,
                 contentless_unindexed = 1, detail = column, tokenize = 'ascii');
             CREATE TRIGGER {} AFTER INSERT ON {documents} BEGIN {created} END;
             CREATE TRIGGER {} AFTER UPDATE OF doc ON {documents} WHEN {changed} BEGIN {delete} {created} END;
             CREATE TRIGGER {} AFTER DELETE ON {documents} BEGIN {delete} END;
             INSERT OR REPLACE INTO {name} (rowid, id, {columns}) SELECT bson_row(id), id, {words} FROM {documents};",
            trigger("insert"),
            trigger("update"),
            trigger("delete"),
        )
    }

    fn words_of(&self, row: &str) -> String {
        let words = |path: &String| format!("bson_words({row}.doc, {})", literal(path));
        self.paths.iter().map(words).collect::<Vec<_>>().join(", ")
    }

    fn words_changed(&self) -> String {
        let changed = |path: &String| {
            let path = literal(path);
            format!("bson_words(old.doc, {path}) IS NOT bson_words(new.doc, {path})")
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
        // Without the tables that FTS5 makes for itself, which go with it.
        ("TABLE", "type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%'"),
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

/// Whether this is the index of this name or one of its triggers. Paths hold no colon that an event would follow.
fn is_of(name: &str, index: &str) -> bool {
    let rest = name.strip_prefix(index);
    rest.is_some_and(|rest| ["", ":insert", ":update", ":delete"].contains(&rest))
}

/// The words at a path of a document, as FTS5 is given them; none where there is no text.
pub(super) fn words(document: &[u8], path: &Path) -> std::result::Result<Option<String>, Malformed> {
    let mut all = BTreeSet::new();
    any_leaf(document, path, &mut |leaf| {
        if let Some(value) = leaf.value().filter(|value| value.kind == ElementType::String) {
            all.extend(terms(value.text()?));
        }
        Ok(false)
    })?;
    let mut words = String::new();
    for term in &all {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&stored(term));
    }
    Ok((!words.is_empty()).then_some(words))
}

/// A term with nothing in it that FTS5 would cut it at: terms that become one are told apart by `bson_match`.
fn stored(term: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || !letter.is_ascii();
    term.chars().map(|letter| if plain(letter) { letter } else { 'x' }).collect()
}

/// The row of a document in the index, by its id: a number is its own. What rows other tables number their documents by, SQLite
/// changes when it compacts the file. That two of a hundred million documents have one number has a chance of one in 3,700;
/// then searches find the later one alone.
pub(super) fn row(id: ValueRef<'_>) -> Option<i64> {
    match id {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(xxhash_rust::xxh3::xxh3_64(bytes).cast_signed())
        }
        ValueRef::Null | ValueRef::Real(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc, oid::ObjectId};

    use super::*;
    use crate::document::{
        Database, Expect, FieldType, Filter, Find, Id, IdType, MergePatch,
        sqlite::tests::{raw, walk},
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
                       AND (type = 'trigger' OR sql LIKE 'CREATE VIRTUAL%')";
            sqlite.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        for (searched, expected) in [(&["a"][..], 4), (&["a", "b"], 4), (&["b"], 4), (&[], 0)] {
            let database = Database::sqlite(&path).await.unwrap();
            let store = database.store(schema(IdType::Int, searched).into()).unwrap();
            let put = vec![(Id::Int(1), raw(&doc! { "_id": 1_i64, "a": "x", "b": "y" }))];
            store.put_many(put).await.unwrap();
            for path in searched {
                let text = if *path == "a" { "x" } else { "y" };
                assert_eq!(found(&store, search(path, text)).await, [Bson::Int64(1)], "{searched:?}");
            }
            assert_eq!(found(&store, Filter::All).await.len(), 1);
            assert_eq!(tables(), expected, "{searched:?}");
        }
    }
}
