//! From where a leader goes on. Pure.

use std::time::Duration;

/// Where a feed can go on; what is inside is the feed's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResumeToken(pub(super) Vec<u8>);

/// A token, and when everything before it had been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) at_ms: u64,
    pub(super) token: ResumeToken,
}

/// What a new leader finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Newest first.
    pub(super) tokens: Vec<Kept>,
    /// Whether Redis has the history in which the tokens were stored, as far as that is known. Another one may lack
    /// invalidations that were acknowledged.
    pub(super) is_same_history: bool,
    /// When it was last seen to have it, by the same clock as the tokens.
    pub(super) seen_ms: u64,
}

/// What a leader does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Go on behind the newest token.
    Resume,
    /// Go on behind an older one, by its place, and apply once more what came after.
    Rewind(usize),
    /// Begin at this moment, and make the cache forget everything.
    Fresh(Why),
}

/// Why nothing that was cached can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Nobody has watched before.
    First,
    /// Redis lost something, and no token is from long enough before.
    TooYoung,
    /// The database does not have the history any more.
    HistoryLost,
}

/// Redis may have lost what it acknowledged up to `margin` before its history was last seen.
pub(super) fn decide(found: &Found, margin: Duration) -> Start {
    if found.tokens.is_empty() {
        return Start::Fresh(Why::First);
    }
    if found.is_same_history {
        return Start::Resume;
    }
    let safe_ms = found.seen_ms.saturating_sub(margin.as_millis() as u64);
    match found.tokens.iter().position(|kept| kept.at_ms <= safe_ms) {
        Some(place) => Start::Rewind(place),
        None => Start::Fresh(Why::TooYoung),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(times_ms: &[u64], is_same_history: bool) -> Found {
        let kept = |at_ms: &u64| Kept { at_ms: *at_ms, token: ResumeToken(vec![]) };
        Found { tokens: times_ms.iter().map(kept).collect(), is_same_history, seen_ms: 100_000 }
    }

    #[test]
    fn a_leader_goes_on_where_the_last_one_stopped() {
        let margin = Duration::from_secs(30);
        for (times_ms, is_same, expected) in [
            (&[][..], true, Start::Fresh(Why::First)),
            (&[], false, Start::Fresh(Why::First)),
            (&[99_000, 50_000], true, Start::Resume),
            (&[99_000, 75_000, 70_000, 65_000], false, Start::Rewind(2)),
            (&[60_000], false, Start::Rewind(0)),
            (&[99_000, 70_001], false, Start::Fresh(Why::TooYoung)),
        ] {
            assert_eq!(decide(&found(times_ms, is_same), margin), expected, "{times_ms:?} {is_same}");
        }
    }

    #[test]
    fn a_history_that_was_never_seen_keeps_nothing() {
        let never = Found { seen_ms: 0, ..found(&[1], false) };
        assert_eq!(decide(&never, Duration::from_secs(30)), Start::Fresh(Why::TooYoung));
    }
}
