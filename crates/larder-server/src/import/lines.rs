//! NDJSON: one document per line.

use std::io::{self, BufRead, Read};

use super::record::{Content, KEPT_BYTES, MAX_RECORD_BYTES, Record};

/// The lines of an input that are not blank.
pub(super) struct Lines<R> {
    input: R,
    number: u64,
    /// The longest line that is read whole.
    limit: usize,
    has_comments: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, has_comments: bool) -> Self {
        Self { input, number: 0, limit: MAX_RECORD_BYTES, has_comments }
    }

    /// The next line that is not blank. A line over the limit is passed over piece by piece, never held.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let mut text = Vec::with_capacity(1024);
            (&mut self.input).take(self.limit as u64 + 1).read_until(b'\n', &mut text)?;
            if text.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if text.len() > self.limit && text.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
                text.truncate(KEPT_BYTES);
                return Ok(Some(Record::too_long(self.number, text)));
            }
            text.truncate(text.trim_ascii_end().len());
            if !(text.is_empty() || self.has_comments && text.starts_with(b"#")) {
                return Ok(Some(Record { number: self.number, text, content: Content::Text }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &str, limit: usize) -> Vec<Record> {
        let mut lines = Lines { limit, ..Lines::new(input.as_bytes(), false) };
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn a_blank_line_is_counted_and_not_a_record() {
        let found = lines("{}\n\n  \r\n{\"a\":1}\r\n{}", 100);
        let seen: Vec<_> = found.iter().map(|line| (line.number, line.text.as_slice())).collect();
        assert_eq!(seen, [(1, b"{}".as_slice()), (4, b"{\"a\":1}"), (5, b"{}")]);
    }

    #[test]
    fn a_line_over_the_limit_is_refused_and_the_next_one_read() {
        let found = lines(&format!("{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(100)), 50);
        assert!(found[0].json().unwrap_err().contains("longer than"));
        assert_eq!((found[1].number, found[1].json()), (2, Ok(b"{}".as_slice())));
    }
}
