//! Cursors: where a page ended, sealed so that a client can only hand it back.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use super::{
    Find, Position,
    find::{order_of, write_order, write_part},
};
use crate::{Error, Result};

const SEAL_BYTES: usize = 16;
/// A cursor stands in a URL, and servers take lines of about eight kilobytes.
const MAX_CURSOR_BYTES: usize = 6 * 1024;

/// The secret that seals cursors. All nodes of a deployment share one, or a page asked from another node is refused.
///
/// A cursor is bound to its collection, filter, order and audience: in any other query it is refused. It is signed and
/// not encrypted: it holds the sort values of a document that its owner was shown.
///
/// ```
/// use larder::document::{CursorKey, Filter, Find, Position};
/// let key = CursorKey::new(b"a secret of the deployment");
/// let find = Find::new(Filter::All, 10);
/// let cursor = key.seal("products", &find, b"role", &Position(vec![7_i64.into()]))?;
/// assert_eq!(key.open("products", &find, b"role", &cursor)?.0, [bson::Bson::Int64(7)]);
/// assert!(key.open("users", &find, b"role", &cursor).is_err());
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl CursorKey {
    /// A key made from a secret of any length.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("an HMAC key may have any length"))
    }

    /// A new random key: cursors end with the process.
    pub fn random() -> Self {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        Self::new(&secret)
    }

    /// Seals a position of `find` in `collection`, for an audience: whatever else must be the same when it comes back,
    /// such as the role.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `sort`, if a sort value is too long to travel in a URL.
    pub fn seal(
        &self,
        collection: &str,
        find: &Find,
        audience: &[u8],
        position: &Position,
    ) -> Result<String> {
        self.seal_bytes(collection, find, audience, &position.to_bytes()?)
    }

    pub(super) fn seal_bytes(
        &self,
        collection: &str,
        find: &Find,
        audience: &[u8],
        values: &[u8],
    ) -> Result<String> {
        let seal = self.mac(collection, find, audience, values)?.finalize().into_bytes();
        let mut bytes = seal[..SEAL_BYTES].to_vec();
        bytes.extend_from_slice(values);
        let cursor = URL_SAFE_NO_PAD.encode(bytes);
        if cursor.len() > MAX_CURSOR_BYTES {
            let message = "the last document of the page has too long a value there for a cursor; sort by another field, or \
                           ask for another `limit`, so that the page ends elsewhere";
            return Err(Error::invalid("sort", message));
        }
        Ok(cursor)
    }

    /// Opens a cursor that was sealed for this same query and audience. The limit and the fields may differ.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `after`, for anything else.
    pub fn open(&self, collection: &str, find: &Find, audience: &[u8], cursor: &str) -> Result<Position> {
        let refused = || Error::invalid("after", "is not a cursor of this query; begin again without it");
        if cursor.len() > MAX_CURSOR_BYTES {
            return Err(refused());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (seal, values) = bytes.split_at_checked(SEAL_BYTES).ok_or_else(refused)?;
        // Compares in constant time.
        self.mac(collection, find, audience, values)?.verify_truncated_left(seal).map_err(|_| refused())?;
        let position = Position::from_bytes(values);
        position.filter(|position| position.0.len() == order_of(&find.sort).len()).ok_or_else(refused)
    }

    fn mac(&self, collection: &str, find: &Find, audience: &[u8], values: &[u8]) -> Result<Hmac<Sha256>> {
        let mut filter = Vec::new();
        find.filter.write_canonical(&mut filter)?;
        let mut order = Vec::new();
        write_order(&find.sort, &mut order);
        let mut mac = self.0.clone();
        for part in [b"larder cursor 1", collection.as_bytes(), &filter, &order, audience, values] {
            write_part(part, &mut |bytes| mac.update(bytes));
        }
        Ok(mac)
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind,
        document::{CompareOp, Direction, Filter, SortKey},
    };
    use bson::Bson;
    use proptest::prelude::*;

    fn find(sort: &[(&str, Direction)], value: impl Into<Bson>) -> Find {
        let sort =
            sort.iter().map(|(path, direction)| SortKey { path: (*path).into(), direction: *direction });
        let filter = Filter::Compare { path: "n".into(), op: CompareOp::Gt, value: value.into() };
        Find { sort: sort.collect(), ..Find::new(filter, 10) }
    }

    #[test]
    fn a_cursor_of_another_query_is_refused() {
        let key = CursorKey::new(b"secret");
        let mine = find(&[("a", Direction::Ascending)], 1);
        let position = Position(vec![Bson::Null, 5_i64.into()]);
        let cursor = key.seal("things", &mine, b"role", &position).unwrap();
        assert_eq!(key.open("things", &mine, b"role", &cursor).unwrap(), position);
        let others = [
            key.open("thing", &mine, b"role", &cursor),
            key.open("things", &mine, b"roles", &cursor),
            key.open("things", &find(&[("a", Direction::Descending)], 1), b"role", &cursor),
            key.open("things", &find(&[("b", Direction::Ascending)], 1), b"role", &cursor),
            key.open("things", &find(&[("a", Direction::Ascending)], 2), b"role", &cursor),
            CursorKey::random().open("things", &mine, b"role", &cursor),
        ];
        for other in others {
            let error = other.unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("after")));
        }
    }

    #[test]
    fn a_sort_value_too_long_for_a_url_is_refused_when_sealed() {
        let position = Position(vec!["x".repeat(10_000).into(), 5_i64.into()]);
        let error = CursorKey::random()
            .seal("t", &find(&[("a", Direction::Ascending)], 1), b"", &position)
            .unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("sort")));
    }

    proptest! {
        #[test]
        fn a_cursor_that_was_changed_is_refused(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_-]", text in "[a-z]{0,9}") {
            let key = CursorKey::new(b"secret");
            let query = find(&[("a", Direction::Ascending)], 1);
            let position = Position(vec![text.into(), 5_i64.into()]);
            let cursor = key.seal("things", &query, b"", &position).unwrap();
            let at = at.index(cursor.len());
            let mut changed = cursor.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(key.open("things", &query, b"", &changed).is_ok(), changed == cursor);
            prop_assert!(key.open("things", &query, b"", &cursor[..at]).is_err());
        }

        #[test]
        fn no_text_makes_opening_panic(text in ".{0,60}") {
            prop_assert!(CursorKey::new(b"s").open("t", &find(&[], 1), b"", &text).is_err());
        }
    }
}
