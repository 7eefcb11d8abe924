//! One condition: a field, an operator and a value of the field's type. In whichever grammar it was written, it is checked
//! and counted here.

use bson::Bson;

use super::{QueryLimits, QueryParser};
use crate::{
    Error, Result,
    document::{
        CompareOp, Field, FieldType, Filter, IdType, Schema,
        ingest::{self, excerpt},
        term,
    },
};

const OPERATORS: &str = "eq, ne, gt, gte, lt, lte, in, nin, prefix, text, exists";

/// The most words that one condition may search for, and the longest of them: MongoDB compiles each letter of it.
const MAX_TERMS: usize = 16;
const MAX_TERM_BYTES: usize = 256;

/// What an operator is given, as it was written.
pub(super) trait Written {
    /// The operators that this grammar has besides, after a comma.
    const MORE_OPERATORS: &'static str;

    /// A value of the field's type. Null stands for itself.
    fn value(&self, path: &str, operand: Operand<'_>) -> Result<Bson>;

    /// The items of a list.
    fn items(&self, path: &str) -> Result<Vec<impl Written>>;

    /// Text, whatever the field's type.
    fn text(&self, path: &str) -> Result<String>;

    /// Yes or no.
    fn truth(&self, path: &str) -> Result<bool>;
}

/// What a field's values are read as.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    Id(IdType),
    Field(&'a FieldType),
}

impl<'a> Operand<'a> {
    /// Of a path that is declared and has one type to compare with.
    pub(super) fn of(schema: &'a Schema, path: &str) -> Option<Self> {
        if path == "_id" {
            return Some(Self::Id(schema.id_type()));
        }
        let field_type = schema.find_field(path)?.field_type();
        let is_plain = |field_type: &FieldType| !matches!(field_type, FieldType::Object | FieldType::Any);
        match field_type {
            FieldType::Array(element) => is_plain(element),
            single => is_plain(single),
        }
        .then_some(Self::Field(field_type))
    }

    pub(super) fn read_text(self, path: &str, text: &str) -> Result<Bson> {
        match self {
            Self::Id(id_type) => id_type.parse(text).map(|id| Bson::from(&id)),
            Self::Field(field_type) => field_type.read_text(text).map_err(|error| error.with_field(path)),
        }
    }

    pub(super) fn read_json(self, schema: &Schema, path: &str, json: &str) -> Result<Bson> {
        match self {
            Self::Id(id_type) => ingest::read_id(id_type, json).map(|id| Bson::from(&id)),
            Self::Field(field_type) => ingest::read_operand(schema, path, field_type, json),
        }
    }

    fn is_text(self) -> bool {
        match self {
            Self::Id(id_type) => id_type == IdType::String,
            Self::Field(field_type) => field_type.is_text(),
        }
    }
}

/// Checks conditions and counts them.
pub(super) struct Conditions<'a> {
    pub(super) parser: &'a QueryParser<'a>,
    limits: &'a QueryLimits,
    count: usize,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(parser: &'a QueryParser<'a>, limits: &'a QueryLimits) -> Self {
        Self { parser, limits, count: 0 }
    }

    /// What the values of a field are read as, if it may be filtered by. The error is said to be at `at`.
    pub(super) fn operand(&self, at: &str, path: &str) -> Result<Operand<'a>> {
        let schema = self.parser.schema;
        let operand = match schema.find_field(path) {
            _ if self.parser.is_template => Operand::of(schema, path),
            _ if path == "_id" => Some(Operand::Id(schema.id_type())),
            Some(field) if field.is_filterable() || field.is_searchable() => {
                Some(Operand::Field(field.field_type()))
            }
            _ => None,
        };
        operand.filter(|_| self.parser.may_see(path)).ok_or_else(|| self.unfit(at, path))
    }

    pub(super) fn unfit(&self, at: &str, path: &str) -> Error {
        let could = |field: &Field| self.parser.is_template || field.is_filterable() || field.is_searchable();
        self.parser.fault(at, path, "cannot be filtered by", could)
    }

    pub(super) fn check_bytes(&self, name: &str, bytes: usize) -> Result<()> {
        let most = self.limits.max_bytes;
        if bytes > most {
            return Err(Error::invalid(excerpt(name), format!("has more than {most} bytes")));
        }
        Ok(())
    }

    pub(super) fn check_depth(&self, group: &str, depth: usize) -> Result<()> {
        let most = self.limits.max_depth;
        if depth > most {
            return Err(Error::invalid(group, format!("is nested more than {most} times")));
        }
        Ok(())
    }

    /// A field may be declared for searches alone, or for all but searches.
    fn is_declared(&self, path: &str, what_for: impl Fn(&Field) -> bool) -> bool {
        let declared = self.parser.schema.find_field(path).filter(|_| !self.parser.is_template);
        declared.is_none_or(what_for)
    }

    fn check_filterable(&self, path: &str) -> Result<()> {
        match path == "_id" || self.is_declared(path, Field::is_filterable) {
            true => Ok(()),
            false => {
                let message = "is declared to be searched for words, by `text`, and not for other filters";
                Err(Error::invalid(path, message))
            }
        }
    }

    fn count(&mut self, path: &str) -> Result<()> {
        self.count += 1;
        let most = self.limits.max_conditions;
        if self.count > most {
            let message = format!("is one condition more than the {most} that are allowed");
            return Err(Error::invalid(path, message));
        }
        Ok(())
    }

    /// The condition that the field is null or absent, or is not.
    pub(super) fn null(&mut self, path: &str, op: CompareOp) -> Result<Filter> {
        self.count(path)?;
        self.check_filterable(path)?;
        Ok(Filter::Compare { path: path.to_owned(), op, value: Bson::Null })
    }

    pub(super) fn condition<W: Written>(
        &mut self,
        path: &str,
        operand: Operand<'_>,
        operator: &str,
        written: &W,
    ) -> Result<Filter> {
        self.count(path)?;
        if operator != "text" {
            self.check_filterable(path)?;
        }
        let compare = |op| match written.value(path, operand)? {
            Bson::Null if !matches!(op, CompareOp::Eq | CompareOp::Ne) => Err(Error::invalid(
                path,
                format!("cannot be compared with null by `{operator}`; use eq or ne"),
            )),
            value => Ok(Filter::Compare { path: path.to_owned(), op, value }),
        };
        match operator {
            "eq" => compare(CompareOp::Eq),
            "ne" => compare(CompareOp::Ne),
            "gt" => compare(CompareOp::Gt),
            "gte" => compare(CompareOp::Gte),
            "lt" => compare(CompareOp::Lt),
            "lte" => compare(CompareOp::Lte),
            "in" => Ok(Filter::In { path: path.to_owned(), values: self.list(path, operand, written)? }),
            "nin" => Ok(Filter::NotIn { path: path.to_owned(), values: self.list(path, operand, written)? }),
            "prefix" if operand.is_text() => {
                Ok(Filter::Prefix { path: path.to_owned(), text: written.text(path)? })
            }
            "prefix" => Err(Error::invalid(path, "has no prefix, because it is not a string")),
            "text" if operand.is_text() => self.search(path, written),
            "text" => Err(Error::invalid(path, "has no words, because it is not a string")),
            "exists" => Ok(Filter::Exists { path: path.to_owned(), present: written.truth(path)? }),
            _ => {
                let (operator, more) = (excerpt(operator), W::MORE_OPERATORS);
                let message = format!("has no operator `{operator}`; there are {OPERATORS}{more}");
                Err(Error::invalid(path, message))
            }
        }
    }

    fn search<W: Written>(&self, path: &str, written: &W) -> Result<Filter> {
        if path == "_id" || !self.is_declared(path, Field::is_searchable) {
            let message = "is not declared to be searched for words, with `search`";
            return Err(Error::invalid(path, message));
        }
        let text = written.text(path)?;
        let terms = term::terms(&text);
        let message = match terms.len() {
            0 => "names no word to search for".to_owned(),
            1..=MAX_TERMS if terms.iter().all(|term| term.len() <= MAX_TERM_BYTES) => {
                return Ok(Filter::Text { path: path.to_owned(), text });
            }
            1..=MAX_TERMS => format!("names a word of more than {MAX_TERM_BYTES} bytes"),
            _ => format!("names more than {MAX_TERMS} words"),
        };
        Err(Error::invalid(path, message))
    }

    fn list<W: Written>(&self, path: &str, operand: Operand<'_>, written: &W) -> Result<Vec<Bson>> {
        let items = written.items(path)?;
        if items.len() > self.limits.max_list {
            return Err(Error::invalid(path, format!("lists more than {} values", self.limits.max_list)));
        }
        items.iter().map(|item| item.value(path, operand)).collect()
    }
}

/// A group of conditions, by its name.
pub(super) fn gather(group: &str, filters: Vec<Filter>) -> Filter {
    if group == "or" { Filter::Or(filters) } else { Filter::And(filters) }
}
