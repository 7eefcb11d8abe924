//! What a watch keeps in Redis.

use std::time::Duration;

use ::redis::{Value, parse_redis_value};

use crate::document::watch::{
    poll::{ms_of, token_of},
    shared::{Claim, claim_of, kept_of, number_of},
    start::{Found, Kept, ResumeToken, Start, decide},
    trouble::Trouble,
};

/// A point that is read back is written as the same one, and none is read by the feed of another kind; what a new leader is told leads
/// it to a point that is there.
pub fn watch_point(data: &[u8]) {
    let stored = Value::BulkString(data.to_vec());
    if let Ok(kept) = kept_of(&stored) {
        assert!(data.ends_with(&kept.token.0));
        assert_eq!(kept_of(&text_of(&kept)).ok(), Some(kept));
    }
    if let Ok(number) = number_of(&stored) {
        assert_eq!(number_of(&Value::BulkString(number.to_string().into())).ok(), Some(number));
    }
    let token = ResumeToken(data.to_vec());
    let polled = ms_of(&token);
    match &polled {
        Ok(seen_ms) => assert_eq!(ms_of(&token_of(*seen_ms)).ok(), Some(*seen_ms)),
        Err(trouble) => assert!(matches!(trouble, Trouble::HistoryLost(_))),
    }
    #[cfg(feature = "mongo")]
    assert!(polled.is_err() || !is_of_the_driver(&token));
    if let Ok(reply) = parse_redis_value(data)
        && let Ok(Claim::Leads(_, found)) = claim_of(reply)
    {
        found_leads_somewhere(&found);
    }
}

fn text_of(kept: &Kept) -> Value {
    Value::BulkString([format!("{}:", kept.at_ms).as_bytes(), &kept.token.0].concat())
}

/// Whether the driver takes this token, which then says the same when it is kept again.
#[cfg(feature = "mongo")]
fn is_of_the_driver(token: &ResumeToken) -> bool {
    use crate::document::watch::mongo::{driver_token, own_token};

    match driver_token(token) {
        Ok(driver) => {
            let own = own_token(&driver).unwrap_or_else(|trouble| panic!("{trouble:?}"));
            assert_eq!(driver_token(&own).ok(), Some(driver));
            true
        }
        Err(trouble) => {
            assert!(matches!(trouble, Trouble::HistoryLost(_)));
            false
        }
    }
}

fn found_leads_somewhere(found: &Found) {
    for margin in [Duration::ZERO, Duration::from_secs(30)] {
        match decide(found, margin) {
            Start::Resume => assert!(found.is_same_history && !found.tokens.is_empty()),
            Start::Rewind(place) => assert!(found.tokens[place].at_ms <= found.seen_ms),
            Start::Fresh(_) => assert!(found.tokens.is_empty() || !found.is_same_history),
        }
    }
}
