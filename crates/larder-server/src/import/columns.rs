//! The columns of a table, and how a row of cells becomes a JSON document.

use std::io::Write;

use larder::document::{FieldType, IdType, Schema};

/// How the cells of a column are written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// As a string.
    Text,
    /// As a string, from which the declared type of the field reads it; or null.
    Typed,
    /// As a number, or null.
    Number,
    /// As `true` or `false`, or null.
    Bool,
    /// The cell is JSON itself: an array or an object.
    Json,
    /// JSON if it is that, else a string.
    Guess,
}

impl Cell {
    /// How the cells of a declared column are written.
    ///
    /// # Errors
    /// When the collection does not declare the column.
    pub(super) fn of(schema: &Schema, column: &str) -> Result<Self, String> {
        if column == "_id" {
            return Ok(if schema.id_type() == IdType::Int { Self::Number } else { Self::Text });
        }
        let Some(field) = schema.find_field(column) else {
            if !schema.is_strict() {
                return Ok(Self::Guess);
            }
            return Err(format!("column `{column}` is not a declared field of {}", schema.name()));
        };
        Ok(match field.field_type() {
            FieldType::Int | FieldType::Double => Self::Number,
            FieldType::Bool => Self::Bool,
            FieldType::Object | FieldType::Array(_) => Self::Json,
            FieldType::Any => Self::Guess,
            FieldType::String => Self::Text,
            FieldType::Decimal | FieldType::Date | FieldType::ObjectId => Self::Typed,
        })
    }

    fn write(self, cell: &str, json: &mut Vec<u8>) -> Result<(), String> {
        let bare = cell.trim();
        let as_it_is = match self {
            Self::Text => false,
            // As it is guessed to be where nothing is declared.
            Self::Typed | Self::Number | Self::Bool if bare == "null" => true,
            Self::Typed => false,
            Self::Number if !(is_json(bare) && bare.parse::<f64>().is_ok()) => {
                return Err("must be a number".to_owned());
            }
            Self::Bool if !matches!(bare, "true" | "false") => return Err("must be true or false".to_owned()),
            Self::Json if !is_json(bare) => return Err("must be JSON".to_owned()),
            Self::Guess => is_json(bare),
            Self::Number | Self::Bool | Self::Json => true,
        };
        if as_it_is {
            json.extend_from_slice(bare.as_bytes());
            return Ok(());
        }
        serde_json::to_writer(json, cell).map_err(|error| error.to_string())
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The columns as the tree of fields that they make up.
#[derive(Debug, Default)]
pub(super) struct Columns {
    names: Vec<String>,
    fields: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    /// The field's name as JSON, with its colon; the number of its column.
    Leaf(String, usize, Cell),
    Branch(String, Vec<Node>),
}

impl Columns {
    /// Reads the names in a header row.
    ///
    /// # Errors
    /// A name that is empty, stands there twice, is both a field and a parent of fields, or that `cell` refuses.
    pub(super) fn new(names: &[String], cell: impl Fn(&str) -> Result<Cell, String>) -> Result<Self, String> {
        let mut fields = Vec::new();
        for (column, name) in names.iter().enumerate() {
            let path: Vec<&str> = name.split('.').collect();
            if path.iter().any(|part| part.is_empty()) {
                return Err(format!("column {} has no name, or one with an empty part", column + 1));
            }
            insert(&mut fields, &path, column, cell(name)?).ok_or_else(|| {
                format!("column `{name}` stands there twice, or as a field and as its parent")
            })?;
        }
        Ok(Self { names: names.to_vec(), fields })
    }

    /// Their names, in their order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The document that a row of cells stands for.
    ///
    /// # Errors
    /// Names the column whose cell cannot be written, and why.
    pub(super) fn json(&self, cells: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut json = Vec::with_capacity(512);
        if !self.write(&self.fields, cells, &mut json)? {
            json.extend_from_slice(b"{}");
        }
        Ok(json)
    }

    /// Writes an object; nothing at all, and `false`, if every cell of it is empty.
    fn write(&self, fields: &[Node], cells: &[&[u8]], json: &mut Vec<u8>) -> Result<bool, String> {
        let start = json.len();
        for field in fields {
            let before = json.len();
            json.push(if before == start { b'{' } else { b',' });
            let written = match field {
                Node::Leaf(_, column, _) if cells[*column].is_empty() => false,
                Node::Leaf(name, column, cell) => {
                    let of = |reason: &str| format!("{}: {reason}", self.names[*column]);
                    let text = std::str::from_utf8(cells[*column]).map_err(|_| of("is not UTF-8"))?;
                    json.extend_from_slice(name.as_bytes());
                    cell.write(text, json).map_err(|reason| of(&reason))?;
                    true
                }
                Node::Branch(name, fields) => {
                    json.extend_from_slice(name.as_bytes());
                    self.write(fields, cells, json)?
                }
            };
            if !written {
                json.truncate(before);
            }
        }
        if json.len() > start {
            json.write_all(b"}").map_err(|error| error.to_string())?;
        }
        Ok(json.len() > start)
    }
}

/// Puts a column into the tree; `None` if its place is taken.
fn insert(fields: &mut Vec<Node>, path: &[&str], column: usize, cell: Cell) -> Option<()> {
    let (name, rest) = path.split_first()?;
    let key = format!("{}:", serde_json::Value::from(*name));
    let known = fields.iter_mut().find(|field| match field {
        Node::Leaf(known, ..) | Node::Branch(known, _) => *known == key,
    });
    match known {
        Some(Node::Branch(_, children)) if !rest.is_empty() => insert(children, rest, column, cell),
        Some(_) => None,
        None if rest.is_empty() => {
            fields.push(Node::Leaf(key, column, cell));
            Some(())
        }
        None => {
            let mut children = Vec::new();
            insert(&mut children, rest, column, cell)?;
            fields.push(Node::Branch(key, children));
            Some(())
        }
    }
}
