//! Finds as SQL: which conditions an index can narrow, the order, and where a page begins.
//!
//! Conditions from indexes are a superset: `bson_match` decides. So a narrower reading of the filter can only be slow.

use bson::Bson;
use rusqlite::types::Value;

use super::{
    search::Lead,
    table::{Table, id_value},
};
use crate::{
    Error, Result,
    document::{
        CompareOp, Direction, Filter, Find, Position, SortKey,
        find::order_of,
        order::{self, prefix_range},
    },
};

/// A WHERE clause in the making, with the values of its parameters.
pub(super) struct Select<'a> {
    table: &'a Table,
    /// Whether every indexed path holds one value in every document.
    indexes: bool,
    /// What leads to the words that the filter demands.
    lead: Option<Lead<'a>>,
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl<'a> Select<'a> {
    pub(super) fn new(table: &'a Table, indexes: bool, lead: Option<Lead<'a>>) -> Self {
        Self { table, indexes, lead, conditions: Vec::new(), values: Vec::new() }
    }

    fn parameter(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    /// Adds what `filter` demands. The caller sets the same filter on the connection.
    pub(super) fn filter(&mut self, filter: &Filter) -> Result<()> {
        if *filter != Filter::All {
            self.narrow(filter)?;
            if let Some(lead) = self.lead.take() {
                let words = self.parameter(lead.words.clone());
                self.conditions.push(lead.condition(&words));
            }
            self.conditions.push("bson_match(doc)".to_owned());
        }
        Ok(())
    }

    fn narrow(&mut self, filter: &Filter) -> Result<()> {
        match filter {
            Filter::And(parts) => parts.iter().try_for_each(|part| self.narrow(part)),
            Filter::Compare { path, op, value } => self.narrow_compare(path, *op, value),
            Filter::In { path, values } => self.narrow_in(path, values),
            Filter::Prefix { path, text } => {
                if let Some(key) = self.indexed_key(path) {
                    let (from, to) = prefix_range(text);
                    self.between(&key, Value::Blob(from), Value::Blob(to));
                }
                Ok(())
            }
            Filter::Or(parts) => self.narrow_to_any(parts),
            // The words that all must have are looked up together.
            Filter::All | Filter::NotIn { .. } | Filter::Exists { .. } | Filter::Text { .. } => Ok(()),
        }
    }

    /// Alternatives narrow only where each of them does.
    fn narrow_to_any(&mut self, parts: &[Filter]) -> Result<()> {
        let (others, known_values) = (std::mem::take(&mut self.conditions), self.values.len());
        let mut alternatives = Vec::with_capacity(parts.len());
        for part in parts {
            self.narrow(part)?;
            let conditions = std::mem::take(&mut self.conditions);
            if conditions.is_empty() {
                alternatives.clear();
                break;
            }
            alternatives.push(format!("({})", conditions.join(" AND ")));
        }
        self.conditions = others;
        if alternatives.is_empty() {
            self.values.truncate(known_values);
        } else {
            self.conditions.push(format!("({})", alternatives.join(" OR ")));
        }
        Ok(())
    }

    fn indexed_key(&self, path: &str) -> Option<String> {
        (self.indexes && self.table.indexed.iter().any(|indexed| indexed == path)).then(|| Table::key(path))
    }

    fn between(&mut self, key: &str, from: Value, to: Value) {
        let (from, to) = (self.parameter(from), self.parameter(to));
        self.conditions.push(format!("{key} >= {from} AND {key} < {to}"));
    }

    fn narrow_compare(&mut self, path: &str, op: CompareOp, value: &Bson) -> Result<()> {
        if path == "_id" {
            return self.narrow_id(op, value);
        }
        let Some(column) = self.indexed_key(path) else { return Ok(()) };
        let key = order::key_of_bson(value)?;
        let class_end = vec![key[0] + 1];
        match op {
            CompareOp::Eq => {
                let key = self.parameter(Value::Blob(key));
                self.conditions.push(format!("{column} = {key}"));
            }
            CompareOp::Gt | CompareOp::Gte => {
                self.between(&column, Value::Blob(key), Value::Blob(class_end));
            }
            CompareOp::Lt | CompareOp::Lte => {
                let from = Value::Blob(vec![key[0]]);
                // One byte more than the key itself, which is the prefix of no other.
                let to = Value::Blob([key.as_slice(), &[0]].concat());
                self.between(&column, from, to);
            }
            CompareOp::Ne => {}
        }
        Ok(())
    }

    /// The id is a column of its own, of one type, so only values of this type narrow it.
    fn narrow_id(&mut self, op: CompareOp, value: &Bson) -> Result<()> {
        let sign = match op {
            CompareOp::Eq => "=",
            CompareOp::Gt => ">",
            CompareOp::Gte => ">=",
            CompareOp::Lt => "<",
            CompareOp::Lte => "<=",
            CompareOp::Ne => return Ok(()),
        };
        if let Ok(id) = self.table.id_type().read(value) {
            let id = self.parameter(id_value(&id));
            self.conditions.push(format!("id {sign} {id}"));
        }
        Ok(())
    }

    fn narrow_in(&mut self, path: &str, values: &[Bson]) -> Result<()> {
        let (column, keys) = if path == "_id" {
            let ids = values.iter().map(|value| self.table.id_type().read(value)).collect::<Result<Vec<_>>>();
            let Ok(ids) = ids else { return Ok(()) };
            ("id".to_owned(), ids.iter().map(id_value).collect())
        } else {
            let Some(column) = self.indexed_key(path) else { return Ok(()) };
            let keys = values.iter().map(|value| Ok(Value::Blob(order::key_of_bson(value)?)));
            (column, keys.collect::<Result<Vec<_>>>()?)
        };
        let keys: Vec<String> = keys.into_iter().map(|key| self.parameter(key)).collect();
        self.conditions.push(format!("{column} IN ({})", keys.join(", ")));
        Ok(())
    }

    fn order_column(&self, key: &SortKey) -> String {
        if key.path == "_id" {
            return "id".to_owned();
        }
        self.indexed_key(&key.path).unwrap_or_else(|| {
            let path = key.path.replace('\'', "''");
            format!("bson_sort(doc, '{path}', {})", i32::from(key.direction == Direction::Descending))
        })
    }

    /// Adds that documents come behind `position` in the order of `keys`.
    fn behind(&mut self, keys: &[SortKey], position: &Position) -> Result<()> {
        if keys.len() != position.0.len() {
            return Err(Error::invalid("after", "belongs to another order"));
        }
        let mut nested = String::new();
        // From the last key to the first: a > x OR (a = x AND (b > y OR (b = y AND …))).
        for (key, value) in keys.iter().zip(&position.0).rev() {
            let column = self.order_column(key);
            let value = if key.path == "_id" {
                id_value(&self.table.id_type().read(value)?)
            } else {
                Value::Blob(order::key_of_bson(value)?)
            };
            let value = self.parameter(value);
            let sign = if key.direction == Direction::Ascending { ">" } else { "<" };
            nested = if nested.is_empty() {
                format!("{column} {sign} {value}")
            } else {
                // The first half says nothing new; it is the range that an index can begin at.
                format!("{column} {sign}= {value} AND ({column} {sign} {value} OR ({nested}))")
            };
        }
        self.conditions.push(nested);
        Ok(())
    }

    /// The whole statement for `find`, which reads one document more than its limit.
    pub(super) fn find(self, find: &Find) -> Result<(String, Vec<Value>)> {
        let keys = order_of(&find.sort);
        self.statement(find, &keys, i64::from(find.limit) + 1)
    }

    /// The statement for the documents that a pipeline begins with: as they lie, unless it sorts them.
    pub(super) fn scan(self, find: &Find) -> Result<(String, Vec<Value>)> {
        match find.sort.is_empty() {
            true => self.statement(find, &[], -1),
            false => self.statement(find, &order_of(&find.sort), find.limit.into()),
        }
    }

    fn statement(mut self, find: &Find, keys: &[SortKey], limit: i64) -> Result<(String, Vec<Value>)> {
        self.filter(&find.filter)?;
        if let Some(position) = &find.after {
            self.behind(keys, position)?;
        }
        let mut sql = format!("SELECT doc FROM {}{}", self.table.name, self.where_clause());
        for (index, key) in keys.iter().enumerate() {
            let direction = if key.direction == Direction::Ascending { "ASC" } else { "DESC" };
            let before = if index == 0 { " ORDER BY" } else { "," };
            sql += &format!("{before} {} {direction}", self.order_column(key));
        }
        let limit = self.parameter(Value::Integer(limit));
        let offset = self.parameter(Value::Integer(i64::try_from(find.offset).unwrap_or(i64::MAX)));
        sql += &format!(" LIMIT {limit} OFFSET {offset}");
        Ok((sql, self.values))
    }

    pub(super) fn where_clause(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{
        Field, FieldType, IdType, Schema,
        sqlite::{connection::Connection, search},
    };

    /// How SQLite means to run a find, step by step.
    fn plan(id_type: IdType, find: &Find) -> Vec<String> {
        let field = |path: &str, field_type| Field::new(path, field_type).filterable().sortable();
        let schema = Schema::new("things", id_type)
            .field(field("price", FieldType::Decimal))
            .field(field("name", FieldType::String).searchable());
        let table = Table::new(&schema);
        let mut connection = Connection::open_in_memory().unwrap();
        table.create(&mut connection).unwrap();
        table.create_indexes(&mut connection).unwrap();
        let lead = search::lead(&connection, &table, &find.filter, true).unwrap();
        let (sql, values) = Select::new(&table, true, lead).find(find).unwrap();
        let mut statement = connection.prepare_cached(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
        steps.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn by_price(after: Option<Position>) -> Find {
        let sort = vec![SortKey { path: "price".into(), direction: Direction::Ascending }];
        Find { sort, after, ..Find::new(Filter::All, 10) }
    }

    #[test]
    fn pages_in_the_order_of_an_index_are_read_from_it_however_deep() {
        for id_type in [IdType::Int, IdType::String] {
            let first = plan(id_type, &by_price(None));
            assert!(
                first.len() == 1 && first[0].starts_with("SCAN") && first[0].contains(":price"),
                "{first:?}"
            );
            let id = if id_type == IdType::Int { Bson::Int64(7) } else { Bson::String("a".into()) };
            let deep = plan(id_type, &by_price(Some(Position(vec![Bson::Int32(5), id]))));
            assert!(
                deep.len() == 1 && deep[0].starts_with("SEARCH") && deep[0].contains(":price"),
                "{deep:?}"
            );
        }
    }

    #[test]
    fn filters_on_indexed_fields_search_their_index() {
        let compare = |op| Filter::Compare { path: "name".into(), op, value: "a".into() };
        let filters = [
            compare(CompareOp::Eq),
            compare(CompareOp::Gt),
            compare(CompareOp::Lte),
            Filter::In { path: "name".into(), values: vec!["a".into(), "b".into()] },
            Filter::Prefix { path: "name".into(), text: "a".into() },
            Filter::And(vec![Filter::Or(vec![Filter::All]), compare(CompareOp::Eq)]),
        ];
        for filter in filters {
            let steps = plan(IdType::Int, &Find::new(filter.clone(), 10));
            assert!(steps[0].starts_with("SEARCH") && steps[0].contains(":name"), "{filter:?}: {steps:?}");
        }
    }

    #[test]
    fn words_are_looked_up_in_their_index() {
        for id_type in [IdType::Int, IdType::String, IdType::ObjectId] {
            let words = Filter::Text { path: "name".into(), text: "red shoes".into() };
            let twice = words.clone().and(words.clone());
            for filter in [words.clone(), twice] {
                let steps = plan(id_type, &Find::new(filter.clone(), 10));
                let lookups = steps.iter().filter(|step| step.contains("VIRTUAL TABLE")).count();
                assert!(lookups == 1 && !steps[0].starts_with("SCAN doc"), "{filter:?}: {steps:?}");
            }
            // What one of several may have leads nowhere, and an id leads to less.
            let id = if id_type == IdType::Int { Bson::Int64(7) } else { Bson::String("a".into()) };
            let named = Filter::Compare { path: "_id".into(), op: CompareOp::Eq, value: id };
            for filter in [Filter::Or(vec![words.clone(), words.clone()]), words.and(named)] {
                let steps = plan(id_type, &Find::new(filter.clone(), 10));
                assert!(!steps.iter().any(|step| step.contains("VIRTUAL TABLE")), "{filter:?}: {steps:?}");
            }
        }
    }

    #[test]
    fn alternatives_search_an_index_each_or_none_at_all() {
        let compare =
            |path: &str, value: Bson| Filter::Compare { path: path.into(), op: CompareOp::Eq, value };
        let (name, price) = (compare("name", "a".into()), compare("price", Bson::Int32(5)));
        let nested = Filter::And(vec![compare("other", Bson::Null), price.clone()]);
        for filter in
            [vec![name.clone(), price.clone()], vec![name.clone(), nested], vec![price, name.clone()]]
        {
            let steps = plan(IdType::Int, &Find::new(Filter::Or(filter.clone()), 10));
            for index in [":name", ":price"] {
                let searches = |step: &String| step.starts_with("SEARCH") && step.contains(index);
                assert!(steps.iter().any(searches), "{filter:?}: {steps:?}");
            }
        }
        let anywhere = Filter::Or(vec![name.clone(), compare("other", Bson::Null)]);
        let steps = plan(IdType::Int, &Find::new(anywhere.clone(), 10));
        assert!(steps[0].starts_with("SCAN"), "{steps:?}");
        let steps = plan(IdType::Int, &Find::new(Filter::And(vec![anywhere, name]), 10));
        assert!(steps[0].starts_with("SEARCH") && steps[0].contains(":name"), "{steps:?}");
    }
}
