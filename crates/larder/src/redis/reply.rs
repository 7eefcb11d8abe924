//! Replies as they come in: finds where each one ends, however its bytes were cut, and reads it.

use ::redis::{ErrorKind as DriverKind, RedisError, RedisResult, Value, parse_redis_value};

/// A value that is announced to be longer is none: no Redis is set up to keep one (`proto-max-bulk-len`).
const MOST_BYTES: u64 = 512 << 20;
/// The same for a line: errors, numbers and the headers of all else.
const MOST_LINE_BYTES: usize = 64 << 10;
/// Deeper ones are left to the driver, which has a bound of its own.
const MOST_DEPTH: usize = 8;
/// What one read should have room for.
const READ_BYTES: usize = 16 << 10;
/// What one large reply left behind is given back; what the next ones need is kept.
const KEPT_BYTES: usize = 256 << 10;

/// The bytes that have come and are not yet taken.
#[derive(Debug)]
pub(super) struct Inbox {
    /// All of it can be written to; from `begin` to `end` stands what has come.
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    /// How much of the next reply has been looked through.
    seen: usize,
    /// How many values the next reply lacks behind that.
    missing: u64,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Vec::new(), begin: 0, end: 0, seen: 0, missing: 1 }
    }
}

impl Inbox {
    /// Where the next bytes are to be put, from the beginning.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.end == 0 && self.bytes.len() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        if self.bytes.len() - self.end < READ_BYTES {
            // Twice as much each time: a large reply is moved a few times, not at each read.
            let room = (self.end + READ_BYTES).max(self.bytes.len() * 2);
            self.bytes.resize(room, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put there.
    pub(super) fn received(&mut self, count: usize) {
        self.end += count;
    }

    /// The next reply, if all of it has come.
    ///
    /// # Errors
    /// `Parse` if this is no RESP3. What follows cannot be told apart either: the connection is of no more use.
    pub(super) fn next(&mut self) -> RedisResult<Option<Value>> {
        if self.begin == self.end || !self.is_whole()? {
            return Ok(None);
        }
        let reply = &self.bytes[self.begin..self.begin + self.seen];
        let mut rest = reply;
        let value = match common(&mut rest, 0) {
            Some(value) => value,
            None => parse_redis_value(reply)?,
        };
        self.begin += self.seen;
        (self.seen, self.missing) = (0, 1);
        Ok(Some(value))
    }

    /// Looks on from where it stopped the last time.
    fn is_whole(&mut self) -> RedisResult<bool> {
        while self.missing > 0 {
            let rest = &self.bytes[self.begin + self.seen..self.end];
            let Some((line, after)) = split_line(rest) else {
                return if rest.len() > MOST_LINE_BYTES { Err(malformed()) } else { Ok(false) };
            };
            let (&kind, text) = line.split_first().ok_or_else(malformed)?;
            let mut length = rest.len() - after.len();
            let more = match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
                b'$' | b'=' | b'!' => {
                    if let Some(count) = announced(text)? {
                        length += count as usize + 2;
                        if rest.len() < length {
                            return Ok(false);
                        }
                    }
                    0
                }
                b'*' | b'~' | b'>' => announced(text)?.unwrap_or(0),
                b'%' => announced(text)?.unwrap_or(0) * 2,
                // What it is about follows it.
                b'|' => announced(text)?.unwrap_or(0) * 2 + 1,
                _ => return Err(malformed()),
            };
            self.seen += length;
            self.missing = self.missing - 1 + more;
        }
        Ok(true)
    }
}

/// The first line without its end, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(MOST_LINE_BYTES).position(|byte| *byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), &bytes[end + 1..]))
}

/// A length or a count; `None` for the nothing of RESP2, which is announced as a negative one.
fn announced(text: &[u8]) -> RedisResult<Option<u64>> {
    let number: i64 = number(text).ok_or_else(malformed)?;
    match u64::try_from(number) {
        Ok(count) if count <= MOST_BYTES => Ok(Some(count)),
        Ok(_) => Err(malformed()),
        Err(_) => Ok(None),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads what nearly all replies are. `None` for all else, which the driver's own reader knows.
fn common(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let (line, after) = split_line(rest)?;
    let (&kind, text) = line.split_first()?;
    *rest = after;
    Some(match kind {
        b'$' => match usize::try_from(number(text)?) {
            Ok(length) => {
                let (bytes, after) = after.split_at_checked(length)?;
                *rest = after.strip_prefix(b"\r\n")?;
                Value::BulkString(bytes.to_vec())
            }
            Err(_) => Value::Nil,
        },
        b'*' if depth < MOST_DEPTH => match usize::try_from(number(text)?) {
            Ok(count) => Value::Array((0..count).map(|_| common(rest, depth + 1)).collect::<Option<_>>()?),
            Err(_) => Value::Nil,
        },
        b':' => Value::Int(number(text)?),
        b'_' => Value::Nil,
        b'+' if text == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(std::str::from_utf8(text).ok()?.to_owned()),
        _ => return None,
    })
}

fn malformed() -> RedisError {
    (DriverKind::Parse, "these bytes are no RESP3").into()
}
