//! What SQLite learns about BSON.
//!
//! | function | answer |
//! |---|---|
//! | `bson_key(doc, path)` | the order key at a path that holds no array; stands in indexes |
//! | `bson_sort(doc, path, descending)` | the order key that the document sorts by, arrays considered |
//! | `bson_multi(doc, path…)` | 1 if an array stands at one of the paths, else null; stands in the partial index |
//! | `bson_words(doc, path)` | the words at a path for the index of searches, or null |
//! | `bson_text(doc, path)` | the text that these words are of, or null |
//! | `bson_match(doc)` | whether the document matches the filter of the running call |

use std::sync::Arc;

use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
};

use super::{connection::CurrentFilter, search};
use crate::document::{
    find::Direction,
    path::{self, Path},
    raw::Malformed,
};

const PURE: FunctionFlags = FunctionFlags::SQLITE_DETERMINISTIC
    .union(FunctionFlags::SQLITE_UTF8)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

pub(super) fn register(connection: &Connection, filter: &CurrentFilter) -> rusqlite::Result<()> {
    connection.create_scalar_function("bson_key", 2, PURE, |context| {
        let path = path_argument(context, 1)?;
        sort_key(context, &path, Direction::Ascending)
    })?;
    connection.create_scalar_function("bson_sort", 3, PURE, |context| {
        let path = path_argument(context, 1)?;
        let descending: bool = context.get(2)?;
        sort_key(context, &path, if descending { Direction::Descending } else { Direction::Ascending })
    })?;
    connection.create_scalar_function("bson_multi", -1, PURE, |context| {
        let document = document(context)?;
        for argument in 1..context.len() {
            let path = path_argument(context, argument as i32)?;
            if path::meets_array(document, &path).unwrap_or(false) {
                return Ok(Some(1));
            }
        }
        Ok(None)
    })?;
    connection.create_scalar_function("bson_words", 2, PURE, |context| {
        let path = path_argument(context, 1)?;
        Ok(search::words(document(context)?, &path).ok().flatten())
    })?;
    connection.create_scalar_function("bson_text", 2, PURE, |context| {
        let path = path_argument(context, 1)?;
        Ok(search::text(document(context)?, &path).ok().flatten())
    })?;
    let filter = Arc::clone(filter);
    connection.create_scalar_function("bson_match", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        filter.lock().matches(document(context)?).map_err(failed)
    })
}

fn document<'a>(context: &'a Context<'_>) -> rusqlite::Result<&'a [u8]> {
    Ok(context.get_raw(0).as_blob()?)
}

/// Paths are literals in the SQL, so each is split once a statement.
fn path_argument(context: &Context<'_>, argument: i32) -> rusqlite::Result<Arc<Path>> {
    context.get_or_create_aux(argument, |value| value.as_str().map(Path::new))
}

/// Null for bytes that are not BSON: an index must not stand in the way because of one of its documents. Whoever reads
/// the document itself is told.
fn sort_key(context: &Context<'_>, path: &Path, direction: Direction) -> rusqlite::Result<Option<Vec<u8>>> {
    let value = path::sort_value(document(context)?, path, direction);
    Ok(value.ok().map(|value| value.key))
}

fn failed(_: Malformed) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    // Without words of its own: they would take the place of the code.
    rusqlite::Error::SqliteFailure(code, None)
}
