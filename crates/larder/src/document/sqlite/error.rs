//! SQLite's errors by what the caller does about them.

use rusqlite::ffi::ErrorCode;

use crate::{Error, ErrorKind};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, message) = match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => (ErrorKind::Timeout, "the query passed its deadline"),
            Some(ErrorCode::ConstraintViolation) => {
                (ErrorKind::Conflict, "the write meets what is there already")
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                (ErrorKind::Corrupt, "what SQLite has stored is not sound")
            }
            Some(ErrorCode::TooBig) => (ErrorKind::TooLarge, "the document is too large for SQLite"),
            _ => (ErrorKind::Unavailable, "SQLite cannot serve"),
        };
        Self::new(kind, message).with_source(error)
    }
}
