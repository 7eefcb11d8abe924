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
                (ErrorKind::Corrupt, "the file is not a sound SQLite database")
            }
            Some(ErrorCode::TooBig) => (ErrorKind::TooLarge, "the document is too large for SQLite"),
            _ if matches!(error, rusqlite::Error::UserFunctionError(_)) => {
                (ErrorKind::Corrupt, "a stored document is not valid BSON")
            }
            _ => (ErrorKind::Unavailable, "SQLite cannot serve"),
        };
        Self::new(kind, message).with_source(error)
    }
}
