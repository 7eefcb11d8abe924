//! Replies as they come in: finds where each one ends, however its bytes were cut, and reads it.

use ::redis::{ErrorKind as DriverKind, RedisError, RedisResult, Value, parse_redis_value};

/// A value that is announced to be longer is none: no Redis is set up to keep one (`proto-max-bulk-len`).
const MOST_BYTES: u64 = 512 << 20;
/// The same for a line: errors, numbers and the headers of all else.
const MOST_LINE_BYTES: usize = 64 << 10;
/// The same for a reply, whatever it is made of.
const MOST_REPLY_BYTES: usize = 1 << 30;
/// Deeper ones are left to the driver, which has a bound of its own.
const MOST_DEPTH: usize = 8;
/// What one read should have room for.
const READ_BYTES: usize = 16 << 10;
/// What one large value left behind in a buffer is given back; what the next ones need is kept.
pub(super) const KEPT_BYTES: usize = 256 << 10;

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
    /// How long a reply may be.
    most_bytes: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: Vec::new(), begin: 0, end: 0, seen: 0, missing: 1, most_bytes: MOST_REPLY_BYTES }
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
            if self.seen > self.most_bytes {
                return Err(malformed());
            }
            self.missing = self.missing - 1 + more;
        }
        Ok(true)
    }
}

/// The first line without its end, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).take(MOST_LINE_BYTES).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
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

#[cfg(test)]
mod tests {
    use ::redis::{PushKind, ServerError};
    use proptest::prelude::*;

    use super::*;
    use crate::redis::fuzzing::read_stream;

    fn read(bytes: &[u8], piece: usize) -> RedisResult<Vec<Value>> {
        let (replies, wrong) = read_stream(bytes, piece);
        wrong.map_or(Ok(replies), Err)
    }

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn every_type_is_read_however_its_bytes_are_cut() {
        let bytes = b"$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n_\r\n:-7\r\n+OK\r\n+PONG\r\n*-1\r\n*0\r\n#t\r\n,1.5\r\n(12345678901234567890\r\n\
            *3\r\n:1\r\n*1\r\n$1\r\nx\r\n_\r\n%1\r\n+k\r\n*1\r\n:2\r\n~1\r\n:3\r\n=7\r\ntxt:abc\r\n\
            -ERR it is so\r\n!9\r\nERR again\r\n>2\r\n$8\r\nsmessage\r\n$1\r\nc\r\n|1\r\n+a\r\n+b\r\n:4\r\n:5\r\n";
        let replies = read(bytes, bytes.len()).unwrap();
        let [first @ .., big, nested, map, set, text, error, blob_error, push, attribute, last] =
            &replies[..]
        else {
            panic!("{replies:?}");
        };
        let expected = [
            bulk(b"a\r\nbc"),
            bulk(b""),
            Value::Nil,
            Value::Nil,
            Value::Int(-7),
            Value::Okay,
            Value::SimpleString("PONG".into()),
            Value::Nil,
            Value::Array(vec![]),
            Value::Boolean(true),
            Value::Double(1.5),
        ];
        assert_eq!(first, &expected);
        assert!(matches!(big, Value::BigNumber(_)), "{big:?}");
        let inner = Value::Array(vec![bulk(b"x")]);
        assert_eq!(*nested, Value::Array(vec![Value::Int(1), inner, Value::Nil]));
        assert!(matches!(map, Value::Map(pairs) if pairs.len() == 1), "{map:?}");
        assert_eq!(*set, Value::Set(vec![Value::Int(3)]));
        assert!(matches!(text, Value::VerbatimString { text, .. } if text == "abc"), "{text:?}");
        let details = |value: &Value| match value {
            Value::ServerError(refusal) => ServerError::details(refusal).map(str::to_owned),
            other => panic!("{other:?}"),
        };
        assert_eq!(details(error).as_deref(), Some("it is so"));
        assert_eq!(details(blob_error).as_deref(), Some("again"));
        assert_eq!(*push, Value::Push { kind: PushKind::SMessage, data: vec![bulk(b"c")] });
        assert!(
            matches!(attribute, Value::Attribute { data, .. } if **data == Value::Int(4)),
            "{attribute:?}"
        );
        assert_eq!(*last, Value::Int(5));
        for piece in 1..bytes.len() {
            assert_eq!(read(bytes, piece).unwrap(), replies, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_resp3_is_refused_before_it_is_waited_for() {
        let endless_line = [b"+".to_vec(), vec![b'x'; MOST_LINE_BYTES + 2]].concat();
        let too_long = format!("${}\r\n", MOST_BYTES + 1).into_bytes();
        let too_many = format!("*{}\r\n", u64::MAX).into_bytes();
        let deep = b"*1\r\n".repeat(1_000);
        let deep = [deep, b":1\r\n".to_vec()].concat();
        let others: [&[u8]; 6] =
            [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"$x\r\n", b"*\r\n", b"$1\r\nabc", b":x\r\n"];
        for bytes in [&endless_line[..], &too_long, &too_many, &deep].into_iter().chain(others) {
            let error = read(bytes, 7).expect_err("this is no RESP3");
            assert_eq!(error.kind(), DriverKind::Parse, "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    #[test]
    fn a_reply_without_end_is_refused_before_it_fills_the_memory() {
        let mut inbox = Inbox { most_bytes: 10_000, ..Inbox::default() };
        let mut come = 0;
        let refused = loop {
            let room = inbox.room();
            room[..4_000].copy_from_slice(&b"*1\r\n".repeat(1_000));
            inbox.received(4_000);
            come += 4_000;
            match inbox.next() {
                Ok(reply) => assert_eq!((reply, come <= 10_000), (None, true)),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), DriverKind::Parse);
    }

    #[test]
    fn the_room_of_a_large_reply_is_given_back() {
        let mut inbox = Inbox::default();
        let large = [b"$1000000\r\n".to_vec(), vec![b'x'; 1_000_000], b"\r\n".to_vec()].concat();
        let mut rest = &large[..];
        while !rest.is_empty() {
            let room = inbox.room();
            let count = room.len().min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            inbox.received(count);
            rest = &rest[count..];
        }
        assert_eq!(inbox.next().unwrap(), Some(bulk(&large[10..1_000_010])));
        assert!(inbox.bytes.len() < 4 << 20, "{}", inbox.bytes.len());
        inbox.room();
        assert_eq!(inbox.bytes.len(), READ_BYTES);
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_were_sent(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
            piece in 1_usize..700,
        ) {
            let sent: Vec<u8> = values.iter().flat_map(|value| {
                [format!("${}\r\n", value.len()).into_bytes(), value.clone(), b"\r\n".to_vec()].concat()
            }).collect();
            let expected: Vec<Value> = values.into_iter().map(Value::BulkString).collect();
            prop_assert_eq!(read(&sent, piece).unwrap(), expected);
        }
    }
}
