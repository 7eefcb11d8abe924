//! What must hold of files that are imported.

use std::{collections::BTreeMap, io::BufReader};

use clap::Parser;
use serde::de::IgnoredAny;

use super::{
    args::ImportArgs,
    columns::Cell,
    declare::declaration,
    format::Format,
    record::{Content, Record, Records},
};
use crate::config;

/// The elements of an array are the same wherever its pieces are cut, and in an array of themselves.
pub fn import_array(data: &[u8]) {
    let Some(found) = the_same_in_pieces(data, Format::Json, 1) else { return };
    if found.iter().all(|record| record.content == Content::Text) {
        let texts: Vec<&[u8]> = found.iter().map(|record| record.text.as_slice()).collect();
        let array = [b"[".as_slice(), &texts.join(&b','), b"]"].concat();
        assert_eq!(records(&array, Format::Json, data.len() + 8), Some(found));
    }
}

/// The lines of a file are the same wherever its pieces are cut, and without the blank ones between them.
pub fn import_lines(data: &[u8]) {
    let found = the_same_in_pieces(data, Format::Ndjson, 1).expect("any text has lines");
    let texts = texts(&found);
    let again = records(&texts.join(&b'\n'), Format::Ndjson, data.len() + 8);
    assert_eq!(again.as_deref().map(self::texts), Some(texts));
}

/// The rows of a table are the same wherever its pieces are cut, and each row is JSON or says why not.
pub fn import_table(data: &[u8]) {
    // What separates the cells is found by a look at the header row, which a real buffer holds as a whole.
    let header_bytes = data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |end| end + 1);
    let Some(found) = the_same_in_pieces(data, Format::Csv, header_bytes.max(1)) else { return };
    for record in found {
        match &record.content {
            Content::Json(json) => {
                // Not as a `Value`: to that, one name of a column is a word of serde_json's own.
                assert!(serde_json::from_slice::<IgnoredAny>(json).is_ok(), "a row becomes JSON");
                assert!(json.starts_with(b"{"));
            }
            Content::Fault(reason) => assert!(!reason.is_empty()),
            Content::Text => panic!("a row is not JSON"),
        }
    }
}

/// A declaration that is made from documents is a configuration.
pub fn declare(data: &[u8]) {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ImportArgs,
    }
    let Line { args } = Line::parse_from(["import", "things", "things.ndjson"]);
    let reader = BufReader::new(data);
    let records =
        Records::new(reader, Format::Ndjson, false, |_| Ok(Cell::Guess)).expect("memory can be read");
    let Ok(text) = declaration(&args, records) else { return };
    let config = config::parse("declared", &text, &BTreeMap::new());
    let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert_eq!(config.collections[0].name, "things");
    config.collections[0].schema.validate().unwrap_or_else(|error| panic!("{error}\n{text}"));
}

/// All records, which must be the same in small pieces as in one; `None` if the input cannot be begun.
fn the_same_in_pieces(data: &[u8], format: Format, least_piece: usize) -> Option<Vec<Record>> {
    let whole = records(data, format, data.len().max(1));
    for piece in [least_piece, least_piece + 2, least_piece + 13] {
        assert_eq!(records(data, format, piece), whole, "in pieces of {piece} bytes");
    }
    let whole = whole?;
    assert!(whole.len() <= data.len() + 1, "{} records from {} bytes", whole.len(), data.len());
    assert!(
        whole.is_sorted_by(|one, next| one.number < next.number),
        "the numbers of the records do not rise"
    );
    assert!(whole.iter().all(|record| record.text.len() <= data.len()));
    Some(whole)
}

fn records(input: &[u8], format: Format, buffer: usize) -> Option<Vec<Record>> {
    let reader = BufReader::with_capacity(buffer, input);
    let mut records = Records::new(reader, format, false, |_| Ok(Cell::Guess)).ok()?;
    let next = || records.next().expect("memory can be read");
    Some(std::iter::from_fn(next).take(input.len() + 3).collect())
}

fn texts(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.text.clone()).collect()
}
