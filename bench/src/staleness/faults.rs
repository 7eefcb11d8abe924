//! What goes wrong on the way to Redis: the same plan for every contender.

use std::time::Duration;

use larder_testkit::proxy::{Fault, Proxy};
use tokio::time::sleep;

use super::{Failure, NODES, dice::Dice};

/// A way for each node, which can be made to fail.
#[derive(Debug)]
pub struct Ways(Vec<Proxy>);

/// One node's way fails in one manner, after a while in which all is well.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    after: Duration,
    node: usize,
    fault: Fault,
    cuts: bool,
    lasts: Duration,
}

/// In the end there is time to come back.
const REST: Duration = Duration::from_millis(700);

impl Ways {
    /// All lead to the Redis at this URL.
    ///
    /// # Errors
    /// When the URL has no port.
    pub async fn to(url: &str) -> Result<Self, Failure> {
        let port = url.rsplit(':').next().unwrap_or_default().trim_end_matches('/').parse()?;
        let mut proxies = Vec::new();
        for _ in 0..NODES {
            proxies.push(Proxy::start(port).await);
        }
        Ok(Self(proxies))
    }

    /// One for each node.
    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(|proxy| format!("redis://127.0.0.1:{}", proxy.port())).collect()
    }

    /// Fails by plan for so long. Begins when every way is in use: a program of its own takes a while to start.
    pub async fn fail(&self, lasts: Duration) {
        while self.0.iter().any(|proxy| proxy.connections() == 0) {
            sleep(Duration::from_millis(5)).await;
        }
        let mut left = lasts;
        for trouble in plan(lasts.saturating_sub(REST)) {
            let Trouble { after, node, fault, cuts, lasts } = trouble;
            sleep(after).await;
            self.0[node].set(fault);
            if cuts {
                self.0[node].cut();
            }
            sleep(lasts).await;
            self.0[node].set(Fault::Pass);
            left = left.saturating_sub(after + lasts);
        }
        sleep(left).await;
    }
}

/// Troubles that take no longer than this, one after the other.
fn plan(mut left: Duration) -> Vec<Trouble> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut troubles = Vec::new();
    for number in 0.. {
        let after = Duration::from_millis(100 + dice.below(300));
        // Some longer than the bound, some shorter than any deadline.
        let lasts = Duration::from_millis(50 + dice.below(1_350));
        let (fault, cuts) = match number % 5 {
            0 => (Fault::Pass, true),
            1 => (Fault::Silent, false),
            2 => (Fault::DropReplies, false),
            3 => (Fault::Delay(Duration::from_millis(1 + dice.below(60))), false),
            _ => (Fault::Refuse, true),
        };
        let node = dice.below(NODES as u64) as usize;
        let Some(rest) = left.checked_sub(after + lasts) else { break };
        left = rest;
        troubles.push(Trouble { after, node, fault, cuts, lasts });
    }
    troubles
}
