//! The task that follows the cluster: it looks at start, when a call found something wrong, and now and then.

use std::{sync::Arc, time::Duration};

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
        error::from_reply,
        link::{Link, State},
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

/// Asks the known primaries and then the seeds; the first answer with slots in it counts.
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
    let mut trouble = Error::new(ErrorKind::Unavailable, "no node of the cluster answers");
    for seed in &shared.seeds {
        match ask_seed(shared, seed, deadline).await {
            Ok(ranges) if !ranges.is_empty() => return Ok(ranges),
            Ok(_) => {
                trouble = Error::new(ErrorKind::Unavailable, format!("{seed}: the cluster has no slots yet"))
            }
            // A refused login or a server that is no cluster node will not mend itself.
            Err(error) if error.kind() == ErrorKind::Config => return Err(error),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

async fn ask_seed(shared: &Shared, seed: &Address, deadline: Duration) -> Result<Vec<Range>> {
    let mut connection = shared.settings.dialer.open(seed, |_| Ok(())).await?;
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let away = |what: String| Error::new(ErrorKind::Unavailable, what).context(format!("redis at {seed}"));
    let reply = timeout(deadline, connection.send_packed_command(&question))
        .await
        .map_err(|_| away("accepts connections but does not answer".to_owned()))?
        .map_err(|error| away(error.to_string()))?;
    match reply {
        Value::ServerError(refusal) => {
            Err(from_reply(&refusal).0.context(format!("redis cluster at {seed}")))
        }
        reply => Ok(read_slots(reply, seed)),
    }
}

fn take(shared: &Shared, ranges: &[Range]) {
    let old = shared.map.load_full();
    let new = SlotMap::build(ranges, |address| match old.at(address) {
        Some(link) => Arc::clone(link),
        None => Arc::new(Link::to(&shared.settings, address.clone())),
    });
    if !new.same_primaries(&old) {
        tracing::info!(primaries = new.links().count(), "The Redis cluster has a new layout.");
        shared.map.store(Arc::new(new));
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
