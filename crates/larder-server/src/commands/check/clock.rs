//! How far another machine's clock is from this one's.

use super::report::{Level, Report};

/// A clock, and what suffers if it is wrong.
pub(super) struct Clock<'a> {
    /// Of what it is.
    pub(super) of: &'a str,
    pub(super) offset_ms: i64,
    pub(super) max_offset_ms: i64,
    /// What is wrong past that.
    pub(super) effect: &'a str,
}

impl Clock<'_> {
    pub(super) fn report(self, report: &mut Report) {
        let Self { of, offset_ms, max_offset_ms, effect } = self;
        if offset_ms.abs() <= max_offset_ms {
            let found = format!("its clock is this machine's, within {max_offset_ms} ms");
            return report.add(Level::Good, of, found);
        }
        let found = format!("its clock is {offset_ms} ms from this machine's");
        report.warn(of, found, format!("{effect}; run a time service on both"));
    }
}
