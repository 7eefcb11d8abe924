//! The task that follows the cluster: it looks at start, when a call found something wrong, and now and then.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ::redis::{Value, cmd};
use tokio::time::{sleep, timeout};

use super::{
    Shared,
    map::{Range, SlotMap, read_slots},
};
use crate::{
    Error, ErrorKind, Result,
    redis::{
        backoff::Backoff,
        dial::Dialer,
        error::from_reply,
        link::{Link, State},
        race::first_success,
        url::Address,
    },
};

/// How often to look when nothing seems wrong.
const NOW_AND_THEN: Duration = Duration::from_secs(15);
/// How often to look, at most, while calls complain.
const BREATHER: Duration = Duration::from_millis(100);

/// Runs until it is aborted by the cluster that owns it.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut backoff = Backoff::reconnect();
    loop {
        match look(&shared).await {
            Ok(ranges) => {
                backoff.reset();
                take(&shared, &ranges);
                report(&shared, None);
                sleep(BREATHER).await;
                let _ = timeout(NOW_AND_THEN, shared.stale.notified()).await;
            }
            Err(error) => {
                report(&shared, Some(error));
                sleep(backoff.next(rand::random())).await;
            }
        }
    }
}

/// Asks the known primaries in turn and then all seeds at once; the first answer with slots in it counts.
async fn look(shared: &Shared) -> Result<Vec<Range>> {
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let deadline = shared.settings.dialer.connect_deadline();
    for link in shared.map.load_full().links().filter(|link| link.is_up()) {
        if let (Some(address), Ok(reply)) = (link.fixed_address(), link.command(&question, deadline).await) {
            let ranges = read_slots(reply, address);
            if !ranges.is_empty() {
                return Ok(ranges);
            }
        }
    }
    let ask = |seed: &Address| {
        let (dialer, seed) = (shared.settings.dialer.clone(), seed.clone());
        async move { ask_seed(&dialer, &seed).await }
    };
    first_success(shared.seeds.iter().map(ask)).await
}

async fn ask_seed(dialer: &Dialer, seed: &Address) -> Result<Vec<Range>> {
    let connection = dialer.open(seed, |_| {}).await?;
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let away =
        |what: &str| Error::new(ErrorKind::Unavailable, what.to_owned()).context(format!("redis at {seed}"));
    let reply = timeout(dialer.connect_deadline(), connection.ask(&question))
        .await
        .map_err(|_| away("accepts connections but does not answer"))?
        .map_err(|error| away(&error.to_string()))?;
    if let Value::ServerError(refusal) = reply {
        return Err(from_reply(&refusal).0.context(format!("redis cluster at {seed}")));
    }
    let ranges = read_slots(reply, seed);
    if ranges.is_empty() { Err(away("the cluster has no slots yet")) } else { Ok(ranges) }
}

fn take(shared: &Shared, ranges: &[Range]) {
    let old = shared.map.load_full();
    let mut is_takeover = false;
    let new = SlotMap::build(ranges, |address| {
        is_takeover |= old.primary_at(address).is_none();
        let known = old.at(address).map(Arc::clone);
        known.unwrap_or_else(|| Arc::new(Link::to(&shared.settings, address.clone())))
    });
    if new.same_primaries(&old) {
        if new.with_guests_of(&old).guests() < old.guests() {
            shared.map.rcu(|current| new.with_guests_of(current));
        }
    } else {
        tracing::info!(primaries = new.links().count(), "The Redis cluster has a new layout.");
        let count = || shared.settings.counters.takeovers.fetch_add(u64::from(is_takeover), Ordering::AcqRel);
        // Before, so that nobody believes the new primary unseen. After, because the new link may be up already: whoever has
        // noticed that and looked may have been answered by the old primary.
        count();
        shared.map.rcu(|current| new.with_guests_of(current));
        count();
    }
}

fn report(shared: &Shared, trouble: Option<Error>) {
    shared.state.send_modify(|state| {
        if let Some(error) = &trouble
            && (state.up || state.attempts == 0)
        {
            tracing::warn!(%error, "The Redis cluster does not say who serves which slot.");
        }
        *state = State {
            generation: state.generation + 1,
            attempts: state.attempts + 1,
            up: trouble.is_none(),
            address: None,
            trouble,
        };
    });
}
