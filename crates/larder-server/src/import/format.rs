//! Which format a file has: by the ending of its name, else by its first character.

use std::{io, io::BufRead, path::Path};

/// The formats that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON array of documents.
    Json,
    /// One JSON document per line.
    Ndjson,
    /// A header row, then one document per row.
    Csv,
}

impl Format {
    /// The format that the file's name promises. `.json` promises none: many such files hold a document per line.
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The format that the content shows: `[` begins an array, `{` a document, all else is a header row.
    ///
    /// Consumes a byte order mark and white space at the beginning.
    ///
    /// # Errors
    /// When reading fails. `InvalidData` for an empty input.
    pub(super) fn of_content(input: &mut impl BufRead) -> io::Result<Self> {
        if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        loop {
            match input.fill_buf()?.first() {
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "the input is empty")),
                Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
                Some(b'[') => return Ok(Self::Json),
                Some(b'{') => return Ok(Self::Ndjson),
                Some(_) => return Ok(Self::Csv),
            }
        }
    }
}
