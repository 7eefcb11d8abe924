//! The table of a collection and its indexes.

use std::collections::BTreeSet;

use rusqlite::types::Value;

use super::{
    connection::Connection,
    search::{self, SearchIndex},
};
use crate::{
    Error, ErrorKind, Result,
    document::{Field, FieldType, Id, IdType, IndexReport, IndexUse, Schema, order::KEY_VERSION},
};

/// The names that one collection has in SQLite.
#[derive(Debug)]
pub(super) struct Table {
    /// Quoted.
    pub(super) name: String,
    unquoted: String,
    id_type: IdType,
    /// The paths that have an index: declared for filters or sorts, and of a type with one value.
    pub(super) indexed: Vec<String>,
    /// The index of the words of searched fields.
    pub(super) search: Option<SearchIndex>,
}

impl Table {
    pub(super) fn new(schema: &Schema) -> Self {
        let unquoted = format!("doc_{}", schema.name());
        let in_array = |path: &str| {
            let outer = path.match_indices('.').map(|(end, _)| &path[..end]);
            outer
                .filter_map(|outer| schema.find_field(outer))
                .any(|outer| *outer.field_type() != FieldType::Object)
        };
        let has_index = |field: &&Field| {
            (field.is_filterable() || field.is_sortable())
                && field.path() != "_id"
                && !matches!(field.field_type(), FieldType::Array(_) | FieldType::Object | FieldType::Any)
                && !in_array(field.path())
        };
        let indexed = schema.fields().iter().filter(has_index).map(|field| field.path().to_owned()).collect();
        let search = SearchIndex::of(&unquoted, schema);
        Self { name: quote(&unquoted), unquoted, id_type: schema.id_type(), indexed, search }
    }

    pub(super) fn id_type(&self) -> IdType {
        self.id_type
    }

    /// The expression of the order key at an indexed path, word for word as in its index.
    pub(super) fn key(path: &str) -> String {
        format!("bson_key(doc, {})", literal(path))
    }

    /// The condition of the partial index that finds documents with arrays at indexed paths.
    pub(super) fn multi(&self) -> Option<String> {
        if self.indexed.is_empty() {
            return None;
        }
        let paths: Vec<String> = self.indexed.iter().map(|path| literal(path)).collect();
        Some(format!("bson_multi(doc, {}) IS NOT NULL", paths.join(", ")))
    }

    /// Whether any document has an array at an indexed path. Such a document has several keys and an index holds one, so
    /// the indexes may not be used then. Almost always no, and answered by a look at an empty index.
    pub(super) fn has_multi(&self, connection: &Connection) -> Result<bool> {
        match self.multi() {
            None => Ok(false),
            Some(multi) => {
                let sql = format!("SELECT 1 FROM {} WHERE {multi} LIMIT 1", self.name);
                Ok(connection.first::<i64>(&sql, &[])?.is_some())
            }
        }
    }

    pub(super) fn create(&self, connection: &mut Connection) -> Result<()> {
        let (id_sql, other) = match self.id_type {
            IdType::Int => ("INTEGER PRIMARY KEY", "INTEGER"),
            IdType::String => ("TEXT PRIMARY KEY NOT NULL", "TEXT"),
            IdType::ObjectId => ("BLOB PRIMARY KEY NOT NULL", "BLOB"),
        };
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {} (id {id_sql}, doc BLOB NOT NULL)",
            self.name
        ))?;
        let sql = "SELECT type FROM pragma_table_info(?1) WHERE name = 'id'";
        let found: Option<String> = connection.first(sql, &[Value::Text(self.unquoted.clone())])?;
        if found.as_deref() != Some(other) {
            let message =
                format!("the stored documents have ids of another kind than {}", self.id_type.name());
            return Err(Error::new(ErrorKind::Config, message).context(&self.unquoted));
        }
        self.check_name(connection)
    }

    /// Whether the table was made under this very name: SQLite finds the one of `Orders` for `orders`.
    fn check_name(&self, connection: &Connection) -> Result<()> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
        let found: Option<String> = connection.first(sql, &[Value::Text(self.unquoted.clone())])?;
        match found.filter(|found| *found != self.unquoted) {
            None => Ok(()),
            Some(found) => {
                let message =
                    format!("SQLite does not tell it from `{found}`, which is another collection's");
                Err(Error::new(ErrorKind::Config, message).context(&self.unquoted))
            }
        }
    }

    /// The index that serves what was declared, if there is one.
    pub(super) fn index_name(&self, wanted: &IndexReport) -> Option<String> {
        if wanted.usage == IndexUse::Search {
            return self.search.as_ref()?.name_for(&wanted.field).map(str::to_owned);
        }
        self.index_on(&wanted.field)
    }

    fn index_on(&self, path: &str) -> Option<String> {
        self.indexed.iter().any(|indexed| indexed == path).then(|| self.name_of_index(path))
    }

    fn name_of_index(&self, path: &str) -> String {
        format!("{}:k{KEY_VERSION}:{}", self.unquoted, marked(path))
    }

    /// Makes the indexes that are missing, and drops the ones that no longer belong.
    pub(super) fn create_indexes(&self, connection: &mut Connection) -> Result<()> {
        let mut wanted = BTreeSet::new();
        let mut sql = String::new();
        for path in &self.indexed {
            let name = self.name_of_index(path);
            // The id breaks ties; as the row's number it is at the end of every index anyway.
            let tie = if self.id_type == IdType::Int { "" } else { ", id" };
            let key = Self::key(path);
            sql += &format!("CREATE INDEX IF NOT EXISTS {} ON {} ({key}{tie});\n", quote(&name), self.name);
            wanted.insert(name);
        }
        if let Some(multi) = self.multi() {
            // Named by its paths: a change of the declaration makes another index.
            let paths: Vec<String> = self.indexed.iter().map(|path| marked(path)).collect();
            let paths = paths.join(",");
            let name = format!("{}:multi{KEY_VERSION}:{paths}", self.unquoted);
            sql += &format!(
                "CREATE INDEX IF NOT EXISTS {} ON {} (id) WHERE {multi};\n",
                quote(&name),
                self.name
            );
            wanted.insert(name);
        }
        for name in self.existing_indexes(connection)? {
            if !wanted.contains(&name) {
                sql += &format!("DROP INDEX {};\n", quote(&name));
            }
        }
        sql += &search::drop_sql(connection, &self.unquoted, self.search.as_ref())?;
        connection.change_indexes(&sql)?;
        match &self.search {
            Some(search) => search.create(connection),
            None => Ok(()),
        }
    }

    fn existing_indexes(&self, connection: &Connection) -> Result<Vec<String>> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL";
        let mut statement = connection.prepare_cached(sql)?;
        let names = statement.query_map([&self.unquoted], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }
}

/// An id as SQLite keeps it: ordered as BSON orders it.
pub(super) fn id_value(id: &Id) -> Value {
    match id {
        Id::ObjectId(id) => Value::Blob(id.bytes().to_vec()),
        Id::String(text) => Value::Text(text.clone()),
        Id::Int(number) => Value::Integer(*number),
    }
}

/// A path for the name of an index, with a mark before each capital, as SQLite ignores the case of names, and before what stands
/// between the parts of a name.
pub(super) fn marked(path: &str) -> String {
    let mut marked = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter.is_ascii_uppercase() || "^,:".contains(letter) {
            marked.push('^');
        }
        marked.push(letter);
    }
    marked
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_one_value_a_document_are_indexed() {
        let field = |path: &str, field_type| Field::new(path, field_type).filterable().sortable();
        let array = || FieldType::Array(Box::new(FieldType::Object));
        let schema = Schema::new("things", IdType::Int)
            .field(field("_id", FieldType::Int))
            .field(field("a", FieldType::Int))
            .field(Field::new("unused", FieldType::Int))
            .field(field("object", FieldType::Object))
            .field(field("object.b", FieldType::Date))
            .field(field("free.c", FieldType::Bool))
            .field(field("array", array()))
            .field(field("array.d", FieldType::Int))
            .field(field("object.inner", array()))
            .field(field("object.inner.e.f", FieldType::Int));
        assert_eq!(Table::new(&schema).indexed, ["a", "object.b", "free.c"]);
    }
    fn made(connection: &mut Connection, schema: &Schema) -> Result<Table> {
        let table = Table::new(schema);
        table.create(connection)?;
        table.create_indexes(connection)?;
        Ok(table)
    }

    #[test]
    fn names_that_differ_in_case_only_have_an_index_each() {
        let paths = ["sku", "SKU", "sKu", "s^ku", "s^kU", "o.sku", "O.sku"];
        let field = |path: &&str| Field::new(*path, FieldType::Int).filterable();
        let schema =
            |paths: &[&str]| paths.iter().map(field).fold(Schema::new("things", IdType::Int), Schema::field);
        let mut connection = Connection::open_in_memory().unwrap();
        for declared in [&paths[..1], &paths[1..2], &paths, &paths[2..3]] {
            let table = made(&mut connection, &schema(declared)).unwrap();
            let existing = table.existing_indexes(&connection).unwrap();
            for path in declared {
                let name = table.index_on(path).unwrap();
                assert!(existing.contains(&name), "{declared:?}: {name} is not among {existing:?}");
            }
            assert_eq!(existing.len(), declared.len() + 1, "and the one for arrays: {existing:?}");
        }
    }

    #[test]
    fn two_collections_are_not_kept_in_one_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        let schema = |name: &str| Schema::new(name, IdType::Int);
        made(&mut connection, &schema("Orders")).unwrap();
        let refused = made(&mut connection, &schema("orders")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("doc_Orders"), "{refused}");
        made(&mut connection, &schema("Orders")).unwrap();
        made(&mut connection, &schema("orders2")).unwrap();
    }
}
