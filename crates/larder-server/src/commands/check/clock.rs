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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_from_ours_is_warned_of_and_a_near_one_is_told() {
        for (offset_ms, is_far) in [(0, false), (500, false), (-500, false), (501, true), (-501, true)] {
            let mut report = Report::default();
            Clock { of: "redis", offset_ms, max_offset_ms: 500, effect: "ages are wrong" }
                .report(&mut report);
            let said = report.to_string();
            let offset = format!("its clock is {offset_ms} ms from this machine's");
            assert_eq!(said.contains(&offset), is_far, "{said}");
            assert_eq!(said.contains("ages are wrong; run a time service"), is_far, "{said}");
            assert_eq!(said.contains("its clock is this machine's, within 500 ms"), !is_far, "{said}");
        }
    }
}
