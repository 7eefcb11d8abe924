//! The reading thread: records become typed documents, in batches of bounded size.

use std::io;

use bson::RawDocumentBuf;
use larder::document::Schema;
use tokio::sync::mpsc;

use super::{
    columns::Cell,
    input::Input,
    record::{Record, Records},
};
use crate::position;

/// A batch ends when its texts are this long, however few documents it has.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// A record and the document that it is, or why it is none.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) number: u64,
    /// Kept for the reject file.
    pub(super) text: Vec<u8>,
    pub(super) document: Result<RawDocumentBuf, String>,
}

/// What the reading thread sends.
pub(super) type Batch = io::Result<Vec<Parsed>>;

/// What documents are read by.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) schema: Schema,
    /// The field that becomes the `_id`.
    pub(super) id: Option<String>,
}

/// The records of an input, typed by the declared fields of a collection.
///
/// # Errors
/// When reading fails; `InvalidData` if a table has no usable header row.
pub(super) fn records(input: Input, form: &Form) -> io::Result<Records<impl io::BufRead + use<>>> {
    let cell = |column: &str| {
        let column = if form.id.as_deref() == Some(column) { "_id" } else { column };
        Cell::of(&form.schema, column)
    };
    Records::new(input.reader, input.format, input.has_comments, cell)
}

/// Reads to the end, or until nobody listens any more. A failure to read is the last thing sent.
pub(super) fn run<R: io::BufRead>(
    mut records: Records<R>,
    form: &Form,
    documents: usize,
    batches: &mpsc::Sender<Batch>,
) {
    loop {
        let (batch, end) = next(&mut records, form, documents);
        if !batch.is_empty() && batches.blocking_send(Ok(batch)).is_err() {
            return;
        }
        match end {
            End::Full => {}
            End::Input => return,
            // Nobody may be listening; then nobody needs to know.
            End::Failed(error) => return drop(batches.blocking_send(Err(error))),
        }
    }
}

enum End {
    Full,
    Input,
    Failed(io::Error),
}

fn next<R: io::BufRead>(records: &mut Records<R>, form: &Form, documents: usize) -> (Vec<Parsed>, End) {
    let (mut batch, mut bytes) = (Vec::with_capacity(documents), 0);
    while batch.len() < documents && bytes < MAX_BATCH_BYTES {
        match records.next() {
            Ok(Some(record)) => {
                bytes += record.text.len();
                batch.push(parse(record, form));
            }
            Ok(None) => return (batch, End::Input),
            Err(error) => return (batch, End::Failed(error)),
        }
    }
    (batch, End::Full)
}

fn parse(record: Record, form: &Form) -> Parsed {
    let document = record
        .json_by(form.id.as_deref())
        .and_then(|json| form.schema.read_raw(&json).map_err(|error| in_record(&error.to_string())));
    Parsed { number: record.number, text: record.text, document }
}

/// What is wrong with a record, with the place in it: the record has a number of its own.
fn in_record(said: &str) -> String {
    match position::split(said) {
        (what, Some((1, column))) => format!("{what} at column {column}"),
        (what, Some((line, column))) => format!("{what} in line {line} of it, at column {column}"),
        (what, None) => what.to_owned(),
    }
}
