//! MongoDB's errors by what the caller does about them.

use std::{borrow::Cow, error::Error as StdError, fmt, io, time::Duration};

use mongodb::error::{ErrorKind as Driver, IndexedWriteError, WriteFailure};

use crate::{Error, ErrorKind};

/// When a caller that was refused may ask again: an election or a restart takes about this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const CUT_OFF: &str = "MongoDB cut the call off at its deadline";

/// There is no server to ask.
pub(super) fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "MongoDB cannot be reached").with_retry_after(RETRY_AFTER)
}

/// What the driver or the server said, without the raw reply that the driver's own text ends with. Holds no credentials.
#[derive(Debug)]
struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

impl Cause {
    fn of(error: &mongodb::error::Error) -> Self {
        Self(match error.kind.as_ref() {
            Driver::Command(error) => format!("{} ({})", error.message, error.code_name),
            other => other.to_string(),
        })
    }
}

/// The error as the caller sees it, with what the driver said as its source.
pub(in crate::document) fn from_driver(error: &mongodb::error::Error) -> Error {
    let translated = match error.kind.as_ref() {
        Driver::Command(error) => from_code(error.code, &error.code_name, &error.message),
        Driver::Write(WriteFailure::WriteError(error)) => from_write_error(error.code, &error.message),
        Driver::Write(WriteFailure::WriteConcernError(error)) => from_write_concern(&error.code_name),
        Driver::Io(_)
        | Driver::ServerSelection { .. }
        | Driver::ConnectionPoolCleared { .. }
        | Driver::DnsResolve { .. }
        | Driver::Shutdown => unavailable(),
        Driver::Authentication { .. } => {
            Error::new(ErrorKind::Config, "MongoDB does not accept the credentials")
        }
        Driver::InvalidTlsConfig { .. } => Error::new(ErrorKind::Config, "the TLS settings cannot work"),
        Driver::IncompatibleServer { .. } => {
            Error::new(ErrorKind::Config, "this MongoDB is too old or too new")
        }
        Driver::BsonDeserialization(_) | Driver::InvalidResponse { .. } => {
            Error::new(ErrorKind::Corrupt, "the answer of MongoDB cannot be understood")
        }
        Driver::BsonSerialization(_) | Driver::Bson(_) | Driver::InvalidArgument { .. } => {
            Error::new(ErrorKind::Invalid, "the request cannot be written as BSON")
        }
        _ => Error::new(ErrorKind::Source, "MongoDB could not do the call"),
    };
    // A refusal of a value repeats the value; it stays out of messages, which travel to clients.
    match translated.kind() {
        ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::TooLarge => translated,
        _ => translated.with_source(Cause::of(error)),
    }
}

/// The same, marked with what is known of whether the call was sent. The driver tries once more what it may; an error that leaves
/// open what became of the first try stays the one that is told.
pub(super) fn marked(error: &mongodb::error::Error) -> Error {
    let translated = from_driver(error);
    match error.kind.as_ref() {
        // There was no connection to send it on.
        Driver::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => translated.unsent(),
        Driver::Io(_) => translated.in_doubt(),
        Driver::ServerSelection { .. } => translated.unsent(),
        _ => translated,
    }
}

/// One document of several that was not written.
pub(super) fn from_indexed(error: &IndexedWriteError) -> Error {
    from_write_error(error.code, &error.message)
}

pub(super) fn from_write_error(code: i32, message: &str) -> Error {
    from_code(code, "", message)
}

/// The write was done, and MongoDB could not say that enough members have it.
pub(super) fn from_write_concern(code_name: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("the write is not confirmed by enough members ({code_name})"))
}

/// By MongoDB's error codes, which are stable; the texts are not.
fn from_code(code: i32, name: &str, message: &str) -> Error {
    match code {
        50 | 202 | 262 => Error::new(ErrorKind::Timeout, CUT_OFF),
        11000 | 11001 | 12582 => conflict(message),
        121 => Error::new(ErrorKind::Invalid, "the document does not meet the collection's rules"),
        13 | 18 | 8000 => Error::new(ErrorKind::Config, "MongoDB does not allow this to Larder's user"),
        10334 | 17280 | 17419 | 17420 => {
            Error::new(ErrorKind::TooLarge, "the document is too large for MongoDB")
        }
        96 | 292 | 16819 | 16945 => {
            Error::new(ErrorKind::TooLarge, "the query needs more memory than it may have; an index may help")
        }
        // No primary here, shutting down, or no way to another member: the next try finds another server.
        6 | 7 | 89 | 91 | 134 | 189 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => unavailable(),
        _ => {
            let name = if name.is_empty() { Cow::from(format!("code {code}")) } else { Cow::from(name) };
            Error::new(ErrorKind::Source, format!("MongoDB refused the call ({name})"))
        }
    }
}

fn conflict(message: &str) -> Error {
    match duplicate_field(message) {
        Some("_id") => Error::new(ErrorKind::Conflict, "the id is taken").with_field("_id"),
        Some(field) => Error::new(ErrorKind::Conflict, "another document has this value").with_field(field),
        None => Error::new(ErrorKind::Conflict, "the write meets what is there already"),
    }
}

/// The first field of the key that is there already. Only the text tells: `… dup key: { name: "…", … }`.
fn duplicate_field(message: &str) -> Option<&str> {
    let (_, key) = message.split_once("dup key: {")?;
    let (field, _) = key.split_once(':')?;
    let field = field.trim().trim_matches('"');
    (!field.is_empty()).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_names_its_field_and_never_its_value() {
        let text = "E11000 duplicate key error collection: shop.users index: mail_1 dup key: { mail: \"ann@example.net\" }";
        let error = from_code(11000, "DuplicateKey", text);
        assert_eq!((error.kind(), error.field()), (ErrorKind::Conflict, Some("mail")));
        assert!(!error.to_string().contains("ann@"));
        let error = from_code(11000, "DuplicateKey", "E11000 … index: _id_ dup key: { _id: 7 }");
        assert_eq!(error.to_string(), "_id: the id is taken");
        assert_eq!(from_code(11000, "DuplicateKey", "E11000").field(), None);
    }

    #[test]
    fn codes_are_cut_by_what_the_caller_does() {
        let kind = |code| from_code(code, "", "").kind();
        assert_eq!(kind(50), ErrorKind::Timeout);
        assert_eq!(kind(121), ErrorKind::Invalid);
        assert_eq!(kind(13), ErrorKind::Config);
        assert_eq!(kind(10107), ErrorKind::Unavailable);
        assert_eq!(kind(292), ErrorKind::TooLarge);
        assert_eq!(kind(9), ErrorKind::Source);
        assert!(from_code(10107, "", "").retry_after().is_some());
    }
}
