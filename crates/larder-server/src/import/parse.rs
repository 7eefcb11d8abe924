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

/// The records of an input, typed by the declared fields of a collection.
///
/// # Errors
/// When reading fails; `InvalidData` if a table has no usable header row.
pub(super) fn records(input: Input, schema: &Schema) -> io::Result<Records<impl io::BufRead + use<>>> {
    Records::new(input.reader, input.format, input.has_comments, |column| Cell::of(schema, column))
}

/// Reads to the end, or until nobody listens any more. A failure to read is the last thing sent.
pub(super) fn run<R: io::BufRead>(
    mut records: Records<R>,
    schema: &Schema,
    documents: usize,
    batches: &mpsc::Sender<Batch>,
) {
    loop {
        let (batch, end) = next(&mut records, schema, documents);
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

fn next<R: io::BufRead>(records: &mut Records<R>, schema: &Schema, documents: usize) -> (Vec<Parsed>, End) {
    let (mut batch, mut bytes) = (Vec::with_capacity(documents), 0);
    while batch.len() < documents && bytes < MAX_BATCH_BYTES {
        match records.next() {
            Ok(Some(record)) => {
                bytes += record.text.len();
                batch.push(parse(record, schema));
            }
            Ok(None) => return (batch, End::Input),
            Err(error) => return (batch, End::Failed(error)),
        }
    }
    (batch, End::Full)
}

fn parse(record: Record, schema: &Schema) -> Parsed {
    let document = match record.json() {
        Ok(json) => schema.read_raw(json).map_err(|error| error.to_string()),
        Err(reason) => Err(reason.to_owned()),
    };
    Parsed { number: record.number, text: record.text, document }
}
