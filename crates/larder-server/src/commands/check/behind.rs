//! Whether a Redis may be trusted with writes that the database does not have yet.

use larder::redis::PrimaryProbe;

use super::report::{Level, Report};

/// One primary's memory and files, as write-behind needs them.
pub(super) fn report_keeping(primary: &PrimaryProbe, what: &str, report: &mut Report) {
    match primary.max_memory_policy.as_deref() {
        None => report.add(Level::Note, what, "does not say its memory policy to this user"),
        Some(policy) if policy.starts_with("allkeys") => report.fail(
            what,
            format!("evicts by {policy}, also what is pending: write-behind refuses to write there"),
            "set maxmemory-policy to noeviction or to one of volatile-*, or give write-behind a Redis of its own",
        ),
        Some(policy) => report.add(Level::Good, what, format!("{policy}: it does not evict what is pending")),
    }
    if primary.max_memory_bytes.is_none() {
        report.warn(
            what,
            "maxmemory is not set",
            "a backlog grows until the machine has no memory left; past a maxmemory writes are refused instead",
        );
    }
    report_file(primary, what, report);
    if primary.replicas == Some(0) {
        report.add(Level::Note, what, "has no replica: what is pending is lost with its disk");
    }
}

/// What an acknowledgement is worth when the server or its machine dies.
fn report_file(primary: &PrimaryProbe, what: &str, report: &mut Report) {
    match (primary.append_only, primary.append_fsync.as_deref()) {
        (None, _) => report.add(Level::Note, what, "does not say whether it keeps an append-only file"),
        (Some(false), _) => report.warn(
            what,
            "keeps no append-only file",
            "what is pending is lost when it ends; set appendonly yes",
        ),
        (Some(true), Some("no")) => report.warn(
            what,
            "appendfsync no",
            "what is pending is lost when the machine ends; set appendfsync everysec, or always",
        ),
        (Some(true), Some("always")) => {
            report.add(Level::Good, what, "an append-only file with appendfsync always");
        }
        (Some(true), Some(fsync)) => report.add(
            Level::Note,
            what,
            format!("appendfsync {fsync}: the last second or two are lost when the machine ends"),
        ),
        (Some(true), None) => report.add(Level::Note, what, "does not say its appendfsync to this user"),
    }
}
