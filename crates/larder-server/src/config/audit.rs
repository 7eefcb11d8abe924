//! `[audit]`: whether what is served is compared with what the database has.

use std::time::Duration;

use larder::cache::AuditRules;

use crate::config::reader::Reader;

/// Reads `[audit]`; `None` if nothing is to be audited.
pub(super) fn read(mut table: Reader<'_>) -> Option<AuditRules> {
    let enabled = table.get("enabled", false);
    let every = table.get("every", Duration::from_secs(1));
    let settle: Option<Duration> = table.find("settle");
    if every < Duration::from_millis(10) {
        table.report("every", "must be 10ms or longer");
    }
    table.finish();
    let rules = AuditRules::default().every(every);
    enabled.then(|| match settle {
        Some(settle) => rules.settle(settle),
        None => rules,
    })
}
