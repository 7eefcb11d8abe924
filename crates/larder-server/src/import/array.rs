//! A JSON array, cut into its elements without reading it whole.

use std::io::{self, BufRead};

use super::record::{Content, KEPT_BYTES, MAX_RECORD_BYTES, Record};

/// The elements of one array. Finds their ends by counting brackets outside of strings; whether an element is valid JSON
/// is for its reader to say, so that one bad element does not spoil those behind it.
pub(super) struct Elements<R> {
    input: R,
    number: u64,
    /// The longest element that is read whole.
    limit: usize,
    closed: bool,
}

/// Where in an element the cut stands.
#[derive(Default)]
struct Cut {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// How an element ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Comma,
    Bracket,
    Input,
}

impl<R: BufRead> Elements<R> {
    /// Begins to read behind the opening bracket, which must be the first character that is not white space.
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        skip_space(&mut input)?;
        if input.fill_buf()?.first() != Some(&b'[') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a JSON array begins with `[`"));
        }
        input.consume(1);
        Ok(Self { input, number: 0, limit: MAX_RECORD_BYTES, closed: false })
    }

    /// The next element. An element over the limit is passed over piece by piece, never held.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        if self.closed {
            return self.rest();
        }
        skip_space(&mut self.input)?;
        self.number += 1;
        let (text, length, end) = self.element()?;
        self.closed = end != End::Comma;
        let fault = |text, reason: &str| Record {
            number: self.number,
            text,
            content: Content::Fault(reason.to_owned()),
        };
        Ok(match (text.is_empty(), end) {
            // `[]`, or a comma before the bracket, which people write by hand.
            (true, End::Bracket) => return self.rest(),
            (true, End::Comma) => Some(fault(text, "there is nothing between two commas")),
            (_, End::Input) => Some(fault(text, "the input ends inside the array")),
            _ if length > self.limit => Some(Record::too_long(self.number, text)),
            _ => Some(Record { number: self.number, text, content: Content::Text }),
        })
    }

    /// Reads up to the comma or bracket that ends an element: its text (the beginning of it, if it is too long), its
    /// length, and how it ended.
    fn element(&mut self) -> io::Result<(Vec<u8>, usize, End)> {
        let (mut text, mut length, mut cut) = (Vec::with_capacity(1024), 0, Cut::default());
        let end = loop {
            let piece = self.input.fill_buf()?;
            if piece.is_empty() {
                break End::Input;
            }
            let found = piece.iter().position(|byte| cut.ends_before(*byte));
            let taken = found.unwrap_or(piece.len());
            length += taken;
            if length > self.limit {
                text.extend_from_slice(&piece[..taken.min(KEPT_BYTES.saturating_sub(text.len()))]);
                text.truncate(KEPT_BYTES);
            } else {
                text.extend_from_slice(&piece[..taken]);
            }
            let last = found.map(|at| piece[at]);
            self.input.consume(taken + usize::from(last.is_some()));
            if let Some(last) = last {
                break if last == b',' { End::Comma } else { End::Bracket };
            }
        };
        text.truncate(text.trim_ascii_end().len());
        Ok((text, length, end))
    }

    /// What stands behind the array: nothing, or one record that says so.
    fn rest(&mut self) -> io::Result<Option<Record>> {
        self.closed = true;
        skip_space(&mut self.input)?;
        let mut text = Vec::new();
        loop {
            let piece = self.input.fill_buf()?;
            let length = piece.len();
            if length == 0 {
                break;
            }
            text.extend_from_slice(&piece[..length.min(KEPT_BYTES - text.len())]);
            self.input.consume(length);
        }
        if text.is_empty() {
            return Ok(None);
        }
        let reason = "there is text behind the end of the array; only its beginning is kept here";
        Ok(Some(Record { number: self.number + 1, text, content: Content::Fault(reason.to_owned()) }))
    }
}

impl Cut {
    /// Whether the element ends in front of this byte; else takes the byte in.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b',' | b']' if self.depth == 0 => return true,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// An element, or what was taken for one, as a line: a break and the space behind it become one space, but for those inside of a
/// string, where valid JSON has none.
pub(super) fn one_line(text: &[u8]) -> Vec<u8> {
    let (mut line, mut cut, mut after_break) = (Vec::with_capacity(text.len()), Cut::default(), false);
    for &byte in text {
        let is_break = !cut.in_string && matches!(byte, b'\n' | b'\r');
        if is_break && !after_break {
            line.push(b' ');
        }
        after_break = is_break || after_break && byte.is_ascii_whitespace();
        if !after_break {
            cut.ends_before(byte);
            line.push(byte);
        }
    }
    line
}

fn skip_space(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = input.fill_buf()?;
        let space = piece.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let more = space > 0 && space == piece.len();
        input.consume(space);
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// Reads with a buffer of three bytes, so that every cut falls everywhere.
    fn elements(input: &str, limit: usize) -> Vec<Record> {
        let mut elements = Elements::new(BufReader::with_capacity(3, input.as_bytes())).unwrap();
        elements.limit = limit;
        std::iter::from_fn(|| elements.next().unwrap()).collect()
    }

    fn texts(input: &str) -> Vec<String> {
        elements(input, 1000)
            .into_iter()
            .map(|record| String::from_utf8(record.json().unwrap().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn elements_end_at_commas_outside_of_strings_and_brackets() {
        assert_eq!(
            texts(r#" [ {"a":[1,2]} , {"b":"],}\"," },{} ] "#),
            [r#"{"a":[1,2]}"#, r#"{"b":"],}\"," }"#, "{}"]
        );
        assert!(texts("[]").is_empty());
        assert_eq!(texts("[{},]"), ["{}"]);
    }

    #[test]
    fn an_element_becomes_one_line_and_its_strings_stay() {
        for (text, line) in [
            ("{\r\n    \"a\": 1,\n\n    \"b\": 2\n}", r#"{ "a": 1, "b": 2 }"#),
            (r#"{ "a":  "\\",  "b": "\"  " }"#, r#"{ "a":  "\\",  "b": "\"  " }"#),
            ("[1,\n\"a\nb\"]", "[1, \"a\nb\"]"),
            ("oops\n  again", "oops again"),
        ] {
            assert_eq!(String::from_utf8(one_line(text.as_bytes())).unwrap(), line);
        }
    }

    #[test]
    fn a_bad_element_does_not_spoil_those_behind_it() {
        let found = elements(r#"[{"a":1}, oops, {"b":2}]"#, 1000);
        assert_eq!(found[1].text, b"oops");
        assert_eq!((found[2].number, found[2].text.as_slice()), (3, br#"{"b":2}"#.as_slice()));
    }

    #[test]
    fn an_array_that_is_cut_off_says_so() {
        let found = elements(r#"[{"a":1},{"b":"#, 1000);
        assert_eq!(found[1].json(), Err("the input ends inside the array"));
        let behind = &elements("[{}] more of it", 1000)[1];
        assert_eq!((behind.number, behind.text.as_slice()), (2, b"more of it".as_slice()));
    }

    #[test]
    fn an_element_over_the_limit_is_refused_and_the_next_one_read() {
        let found = elements(&format!(r#"[{{"a":"{}"}},{{}}]"#, "x".repeat(100)), 50);
        assert!(found[0].json().unwrap_err().contains("longer than"));
        assert_eq!((found[1].number, found[1].json()), (2, Ok(b"{}".as_slice())));
    }
}
