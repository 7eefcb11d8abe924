//! One connection's part of a run: a closed loop, so a slow server is asked less.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    client::Client,
    figures::Figures,
    plan::{Plan, Planned},
};

/// How long a connection that was refused waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// Which run this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    WarmUp,
    Cached,
    Bypassed,
}

/// Sends the requests of connection `number` until `end`, and says what came of them.
pub(super) async fn run(plan: Plan, number: u32, way: Way, end: Instant) -> Figures {
    let mut figures = Figures::new();
    // The two runs share their dice; the warm-up has others, so that it does not send the very requests that follow.
    let stream = u64::from(number) | if way == Way::WarmUp { 1 << 32 } else { 0 };
    let mut client = None;
    for planned in plan.requests(stream) {
        if Instant::now() >= end {
            break;
        }
        let kind = planned.kind;
        let sent = Instant::now();
        match exchange(&plan, &mut client, planned, way == Way::Bypassed).await {
            Ok(status) => figures.count(kind, sent.elapsed(), status.as_u16()),
            Err(error) => {
                client = None;
                figures.fail(&error);
                sleep_until((Instant::now() + PAUSE).min(end)).await;
            }
        }
    }
    figures
}

async fn exchange(
    plan: &Plan,
    client: &mut Option<Client>,
    planned: Planned,
    past_the_cache: bool,
) -> larder::Result<hyper::StatusCode> {
    if client.is_none() {
        *client = Some(plan.target.connect().await?);
    }
    let asked = client.as_mut().expect("connected above");
    let status = asked.ask(planned, past_the_cache).await?;
    if asked.has_ended() {
        *client = None;
    }
    Ok(status)
}
