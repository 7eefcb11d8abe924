//! CSV: a header row, then one document per row. A dotted header is a nested field, an empty cell an absent one.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{
    columns::{Cell, Columns},
    record::{Content, KEPT_BYTES, MAX_RECORD_BYTES, Record},
};

/// The most columns that a table can have.
const MAX_COLUMNS: usize = 4096;

/// The rows of a table. Holds one row at a time.
pub(super) struct Table<R> {
    input: R,
    reader: Reader,
    lines: LineCount,
    /// The longest row that is read whole.
    limit: usize,
    columns: Columns,
    header: Header,
    has_comments: bool,
    row: Row,
}

/// The first row, and what stands between the cells of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    /// As it stands in the input.
    pub(super) row: Vec<u8>,
    pub(super) separator: u8,
}

/// Counts line ends as they pass by: `\n`, `\r`, or both as one.
#[derive(Clone, Copy, Default)]
struct LineCount {
    lines: u64,
    after_return: bool,
}

impl LineCount {
    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let ends = *byte == b'\r' || (*byte == b'\n' && !self.after_return);
            self.lines += u64::from(ends);
            self.after_return = *byte == b'\r';
        }
    }
}

/// The row that was read last. Its buffers are used again for the next.
#[derive(Default)]
struct Row {
    /// As it stands in the input, up to its end.
    text: Vec<u8>,
    /// All cells, one behind the other.
    cells: Vec<u8>,
    /// Where each cell ends in `cells`.
    ends: Vec<usize>,
    count: usize,
    too_long: bool,
    /// The input ended inside this row, without a line end.
    last: bool,
}

impl<R: BufRead> Table<R> {
    /// Reads the header row. `cell` says how the cells of a column become JSON.
    ///
    /// # Errors
    /// When reading fails; `InvalidData` naming the column if the header row cannot be used.
    pub(super) fn new(
        mut input: R,
        has_comments: bool,
        cell: impl Fn(&str) -> Result<Cell, String>,
    ) -> io::Result<Self> {
        let separator = separator(input.fill_buf()?);
        let reader = ReaderBuilder::new().delimiter(separator).comment(has_comments.then_some(b'#')).build();
        let row = Row { cells: vec![0; 4096], ends: vec![0; 64], ..Row::default() };
        let columns = Columns::default();
        let mut table = Self {
            input,
            reader,
            lines: LineCount::default(),
            limit: MAX_RECORD_BYTES,
            columns,
            header: Header::default(),
            has_comments,
            row,
        };
        table.read()?;
        let names: Vec<String> =
            table.row.cells().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        table.header = Header { row: table.row.text[table.leading()..].trim_ascii().to_vec(), separator };
        let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, format!("header row: {reason}"));
        table.columns = Columns::new(&names, cell).map_err(invalid)?;
        Ok(table)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The names in the header row.
    pub(super) fn names(&self) -> &[String] {
        self.columns.names()
    }

    /// The next row. A row over the limit is passed over piece by piece, never held.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let mut before = self.lines;
        if !self.read()? {
            return Ok(None);
        }
        // The reader leaves the second half of `\r\n`, and blank lines, to the row that follows.
        let space = self.leading();
        before.pass(&self.row.text[..space]);
        let number = before.lines + 1;
        let text = self.row.text[space..].trim_ascii_end().to_vec();
        if self.row.too_long {
            return Ok(Some(Record::too_long(number, text)));
        }
        let content = match self.content() {
            Ok(json) => Content::Json(json),
            Err(reason) => Content::Fault(reason),
        };
        Ok(Some(Record { number, text, content }))
    }

    /// How much of the row's text stands before its first cell: line ends and, in a reject file, reasons.
    fn leading(&self) -> usize {
        let text = self.row.text.as_slice();
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at += match byte {
                b'\r' | b'\n' => 1,
                b'#' if self.has_comments => text[at..].iter().take_while(|byte| **byte != b'\n').count(),
                _ => break,
            };
        }
        at
    }

    fn content(&self) -> Result<Vec<u8>, String> {
        let quotes = self.row.text.iter().filter(|byte| **byte == b'"').count();
        if self.row.last && quotes % 2 == 1 {
            return Err("a quote is never closed".to_owned());
        }
        if self.row.count != self.columns.count() {
            return Err(format!("has {} cells, the header row has {}", self.row.count, self.columns.count()));
        }
        let cells: Vec<&[u8]> = self.row.cells().collect();
        self.columns.json(&cells)
    }

    /// Reads one row; `false` at the end of the input.
    fn read(&mut self) -> io::Result<bool> {
        let row = &mut self.row;
        (row.count, row.too_long, row.last) = (0, false, false);
        row.text.clear();
        let mut used = 0;
        loop {
            let piece = self.input.fill_buf()?;
            row.last = piece.is_empty();
            let (result, read, written, ended) =
                self.reader.read_record(piece, &mut row.cells[used..], &mut row.ends[row.count..]);
            let kept = if row.too_long { KEPT_BYTES.saturating_sub(row.text.len()) } else { read };
            row.text.extend_from_slice(&piece[..read.min(kept)]);
            self.lines.pass(&piece[..read]);
            self.input.consume(read);
            (used, row.count) = (used + written, row.count + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::OutputFull if row.cells.len() < self.limit => {
                    row.cells.resize(row.cells.len() * 2, 0)
                }
                ReadRecordResult::OutputEndsFull if row.ends.len() < MAX_COLUMNS => {
                    row.ends.resize(row.ends.len() * 2, 0)
                }
                // Too long: go on to the end of the row, and write over what was read.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (used, row.count, row.too_long) = (0, 0, true);
                    row.text.truncate(KEPT_BYTES);
                }
            }
        }
    }
}

impl Row {
    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends[..self.count]).map(|(start, end)| &self.cells[start..*end])
    }
}

/// What stands between the cells: a comma, unless the first line has none and has semicolons or tabs instead.
fn separator(beginning: &[u8]) -> u8 {
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    [b',', b';', b'\t'].into_iter().find(|separator| line.contains(separator)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn table(input: &str) -> Table<BufReader<&[u8]>> {
        let cell = |name: &str| {
            Ok(match name {
                "_id" | "stock" => Cell::Number,
                "tags" => Cell::Json,
                _ => Cell::Text,
            })
        };
        Table::new(BufReader::with_capacity(64, input.as_bytes()), false, cell).unwrap()
    }

    fn rows(input: &str) -> Vec<(u64, Result<String, String>)> {
        let mut table = table(input);
        let read = |record: Record| {
            let json = record.json().map(|json| String::from_utf8(json.to_vec()).unwrap());
            (record.number, json.map_err(str::to_owned))
        };
        std::iter::from_fn(|| table.next().unwrap()).map(read).collect()
    }

    #[test]
    fn a_dotted_header_is_a_nested_field_and_an_empty_cell_is_absent() {
        let found = rows(
            "_id,maker.name,stock,maker.country,tags\r\n1,\"A, \"\"B\"\"\",,GB,\"[\"\"x\"\"]\"\r\n2,,7,,\r\n",
        );
        assert_eq!(
            found[0],
            (2, Ok(r#"{"_id":1,"maker":{"name":"A, \"B\"","country":"GB"},"tags":["x"]}"#.to_owned()))
        );
        assert_eq!(found[1], (3, Ok(r#"{"_id":2,"stock":7}"#.to_owned())));
    }

    #[test]
    fn the_line_of_a_row_counts_the_lines_inside_of_quotes_and_the_blank_ones() {
        let found = rows("_id,name\n1,\"two\nlines\"\n\n2,b\n");
        assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn a_line_may_end_in_any_of_the_three_ways() {
        for end in ["\n", "\r\n", "\r"] {
            let found = rows(&["_id,name", "1,a", "", "2,b"].join(end));
            assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [2, 4], "{end:?}");
        }
    }

    #[test]
    fn a_row_of_the_wrong_width_or_with_an_open_quote_is_refused() {
        let found = rows("_id,name\n1\n2,b\n3,\"c\n4,d");
        assert_eq!(found[0].1, Err("has 1 cells, the header row has 2".to_owned()));
        assert!(found[1].1.is_ok());
        assert_eq!(found[2], (4, Err("a quote is never closed".to_owned())));
    }

    #[test]
    fn a_row_over_the_limit_is_refused_and_the_next_one_read() {
        let input = format!("_id,name\n1,{}\n2,b\n", "x".repeat(20_000));
        let mut table = table(&input);
        table.limit = 8_192;
        assert!(table.next().unwrap().unwrap().json().unwrap_err().contains("longer than"));
        assert_eq!(table.next().unwrap().unwrap().json(), Ok(br#"{"_id":2,"name":"b"}"#.as_slice()));
    }

    #[test]
    fn semicolons_separate_cells_where_there_is_no_comma() {
        assert_eq!(rows("_id;name\n1;a\n")[0].1, Ok(r#"{"_id":1,"name":"a"}"#.to_owned()));
    }
}
