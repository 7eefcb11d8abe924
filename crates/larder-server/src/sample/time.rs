//! The calendar of the shop, in seconds since 1970, and the ids made from it.

use bson::{DateTime, oid::ObjectId};

/// 1 March 2019: the shop opens.
pub(super) const OPENED: u32 = 1_551_398_400;
/// 1 January 2025: the last products arrive.
pub(super) const LAST_ARRIVAL: u32 = 1_735_689_600;
/// 1 January 2026: the day on which the sample data was "taken".
pub(super) const TAKEN: u32 = 1_767_225_600;

/// A second of the calendar as a BSON date.
pub(super) fn date(seconds: u32) -> DateTime {
    DateTime::from_millis(i64::from(seconds) * 1000)
}

/// The id of document `number`, made at `seconds`. Ids of one collection differ because their numbers do.
pub(super) fn object_id(seconds: u32, number: u32) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4..8].copy_from_slice(b"shop");
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}
