//! Records: an input of any format cut into pieces of bounded size, each with its place.

use std::{
    borrow::Cow,
    io::{self, BufRead},
};

use super::{
    array::Elements,
    columns::Cell,
    format::Format,
    id::moved,
    lines::Lines,
    table::{Header, Table},
};

/// The longest record that is read whole. JSON is longer than BSON, whose limit in MongoDB is 16 MiB.
pub(super) const MAX_RECORD_BYTES: usize = 32 << 20;

/// How much of a record that is too long is kept for the reject file.
pub(super) const KEPT_BYTES: usize = 64 << 10;

/// One piece of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The number of its line, or of its element in an array; the first is 1.
    pub(super) number: u64,
    /// As it stands in the input.
    pub(super) text: Vec<u8>,
    /// What to read it as.
    pub(super) content: Content,
}

/// What a record holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The text itself is JSON.
    Text,
    /// JSON made from the text.
    Json(Vec<u8>),
    /// It cannot be read, and this is why.
    Fault(String),
}

impl Record {
    /// The JSON of the document.
    ///
    /// # Errors
    /// Why the record cannot be read.
    pub(super) fn json(&self) -> Result<&[u8], &str> {
        match &self.content {
            Content::Text => Ok(&self.text),
            Content::Json(json) => Ok(json),
            Content::Fault(reason) => Err(reason),
        }
    }

    /// The JSON of the document, with this field as its `_id`, if one is given.
    ///
    /// # Errors
    /// Why the record cannot be read, or that it has no such field.
    pub(super) fn json_by(&self, id: Option<&str>) -> Result<Cow<'_, [u8]>, String> {
        let json = self.json()?;
        id.map_or(Ok(json.into()), |field| moved(json, field))
    }

    /// A record longer than [`MAX_RECORD_BYTES`], of which only the beginning is kept.
    pub(super) fn too_long(number: u64, mut text: Vec<u8>) -> Self {
        text.truncate(KEPT_BYTES);
        text.shrink_to_fit();
        let reason = format!("longer than {} MiB; only its beginning is kept here", MAX_RECORD_BYTES >> 20);
        Self { number, text, content: Content::Fault(reason) }
    }
}

/// The records of an input, in their order. Holds one record at a time, whatever the size of the input.
pub(super) enum Records<R> {
    Lines(Lines<R>),
    Elements(Elements<R>),
    Rows(Box<Table<R>>),
}

impl<R: BufRead> Records<R> {
    /// Begins to read. `cell` says how the cells of a column of a table are written as JSON.
    ///
    /// # Errors
    /// When reading fails; `InvalidData` if a table has no usable header row.
    pub(super) fn new(
        input: R,
        format: Format,
        has_comments: bool,
        cell: impl Fn(&str) -> Result<Cell, String>,
    ) -> io::Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Lines(Lines::new(input, has_comments)),
            Format::Json => Self::Elements(Elements::new(input)?),
            Format::Csv => Self::Rows(Box::new(Table::new(input, has_comments, cell)?)),
        })
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// When reading fails.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Elements(elements) => elements.next(),
            Self::Rows(table) => table.next(),
        }
    }

    /// The header row, if it is a table.
    pub(super) fn header(&self) -> Option<Header> {
        match self {
            Self::Rows(table) => Some(table.header().clone()),
            Self::Lines(_) | Self::Elements(_) => None,
        }
    }

    /// The columns of a table, whether anything stands in them or not.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Rows(table) => table.names(),
            Self::Lines(_) | Self::Elements(_) => &[],
        }
    }

    /// Whether its records may go over several lines which a reader of lines would not put together again.
    pub(super) fn is_array(&self) -> bool {
        matches!(self, Self::Elements(_))
    }

    /// What a record is called in messages.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Lines(_) | Self::Rows(_) => "line",
            Self::Elements(_) => "element",
        }
    }
}
