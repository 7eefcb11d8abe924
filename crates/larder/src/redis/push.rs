//! Listening: sharded pub/sub on connections of its own, which come back and never lose a message in silence.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::redis::{Pipeline, PushInfo, PushKind, RedisResult, Value, from_redis_value};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{backoff::Backoff, dial::Dialer, topology::Topology, url::Address, wire::Wire};

/// The name of a channel. Shared, because every message carries it.
pub type Channel = Arc<[u8]>;

/// What a [`Subscriber`] hears.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// Messages on this channel arrive from here on. Whatever was published before, since the last
    /// [`Lost`](Self::Lost) or ever, may have been missed.
    Subscribed(Channel),
    /// A message, in the order the server sent it.
    Message {
        /// Where it was published.
        channel: Channel,
        /// What was published.
        payload: Vec<u8>,
    },
    /// Messages on this channel may be missed until it is subscribed to again, which is being tried.
    Lost(Channel),
}

/// Follows sharded channels (`SPUBLISH`) on connections of its own, one to each primary that owns some of them.
///
/// A connection that breaks or falls silent is replaced with backoff and jitter, and its channels are subscribed to
/// again at whoever owns them then. The owner hears of every gap: [`Lost`](PushEvent::Lost), then
/// [`Subscribed`](PushEvent::Subscribed). An owner too slow for the messages loses the connection the same way, so what
/// is held for it is bounded. Dropping the subscriber closes its connections.
pub struct Subscriber {
    events: mpsc::Receiver<PushEvent>,
    _task: AbortOnDropHandle<()>,
}

impl Subscriber {
    /// The next event. Waits as long as it takes, and never ends while the server is merely away.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<PushEvent> {
        self.events.recv().await
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("waiting", &self.events.len()).finish()
    }
}

/// Messages held between the connection and its task, beyond the confirmations.
const HELD_BY_CONNECTION: usize = 1_024;
/// Events held for the owner.
const HELD_FOR_OWNER: usize = 64;
/// A connection that lived this long lets the next attempts start with short delays again.
const STABLE: Duration = Duration::from_secs(5);

/// What every listening connection of a subscriber needs.
#[derive(Clone)]
pub(super) struct Ears {
    pub(super) topology: Arc<Topology>,
    pub(super) dialer: Dialer,
    pub(super) probe_interval: Duration,
}

/// Starts to subscribe, and returns at once. Must be called inside a Tokio runtime.
pub(super) fn subscribe(ears: Ears, channels: Vec<Channel>) -> Subscriber {
    let (sender, events) = mpsc::channel(HELD_FOR_OWNER);
    let task = tokio::spawn(follow(ears, channels, sender));
    Subscriber { events, _task: AbortOnDropHandle::new(task) }
}

/// Keeps every channel at a connection to its primary. The connections belong to this task and end with it.
async fn follow(ears: Ears, channels: Vec<Channel>, events: mpsc::Sender<PushEvent>) {
    let mut homeless = channels;
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::reconnect();
    loop {
        let mut by_primary: HashMap<Address, Vec<Channel>> = HashMap::new();
        for channel in mem::take(&mut homeless) {
            match ears.topology.primary_of(&channel) {
                Some(primary) => by_primary.entry(primary).or_default().push(channel),
                None => homeless.push(channel),
            }
        }
        for (primary, channels) in by_primary {
            connections.spawn(listen(ears.clone(), primary, channels, events.clone()));
        }
        // While some have no primary, nothing is waited for; the connections of the others may have ended all the same.
        let mut ended = match homeless.is_empty() {
            true => connections.join_next().await,
            false => connections.try_join_next(),
        };
        if ended.is_none() && homeless.is_empty() {
            return;
        }
        while let Some(connection) = ended {
            let Ok((channels, stable)) = connection else { return };
            homeless.extend(channels);
            ears.topology.doubt();
            if stable {
                backoff.reset();
            }
            ended = connections.try_join_next();
        }
        if events.is_closed() {
            return;
        }
        sleep(backoff.next(rand::random())).await;
    }
}

/// Listens on one connection until it is of no more use; returns its channels, and whether it lived for long.
async fn listen(
    ears: Ears,
    primary: Address,
    channels: Vec<Channel>,
    events: mpsc::Sender<PushEvent>,
) -> (Vec<Channel>, bool) {
    let since = Instant::now();
    let mut subscribed = HashSet::new();
    if let Some(why) = hear(&ears, &primary, &channels, &events, &mut subscribed).await {
        // One line for the loss; the attempts after it are for debugging.
        if subscribed.is_empty() {
            tracing::debug!(%primary, %why, "There is no listening connection yet.");
        } else {
            tracing::info!(%primary, %why, channels = channels.len(), "A listening connection is replaced.");
        }
    }
    for channel in subscribed {
        // Without an owner there is nobody to tell.
        let _ = events.send(PushEvent::Lost(channel)).await;
    }
    (channels, since.elapsed() >= STABLE)
}

/// Returns why it stopped, or `None` if the owner is gone.
async fn hear(
    ears: &Ears,
    primary: &Address,
    channels: &[Channel],
    events: &mpsc::Sender<PushEvent>,
    subscribed: &mut HashSet<Channel>,
) -> Option<Cow<'static, str>> {
    let (queue, mut pushes) = mpsc::channel(HELD_BY_CONNECTION + channels.len());
    let overflowed = Arc::new(AtomicBool::new(false));
    let on_push = {
        let overflowed = Arc::clone(&overflowed);
        // When the connection ends, its mover drops this closure, and with it the queue's sender.
        move |push: PushInfo| {
            if queue.try_send(push).is_err() {
                overflowed.store(true, Ordering::Release);
            }
        }
    };
    let connection = match ears.dialer.open(primary, on_push).await {
        Ok(connection) => connection,
        Err(error) => return Some(error.to_string().into()),
    };
    match timeout(ears.dialer.connect_deadline(), subscribe_to(&connection, channels)).await {
        Ok(Ok(replies)) if !replies.iter().any(|reply| matches!(reply, Value::ServerError(_))) => {}
        _ => return Some("not subscribed".into()),
    }
    loop {
        tokio::select! {
            push = pushes.recv() => {
                let Some(push) = push else { return Some("closed".into()) };
                match event_of(push) {
                    Heard::Event(event) => {
                        if let PushEvent::Subscribed(channel) = &event {
                            subscribed.insert(Arc::clone(channel));
                        }
                        if events.send(event).await.is_err() {
                            return None;
                        }
                    }
                    Heard::Unsubscribed => return Some("a channel moved away".into()),
                    Heard::Nothing => {}
                }
                if overflowed.load(Ordering::Acquire) {
                    return Some("the owner is too slow".into());
                }
            }
            () = sleep(ears.probe_interval) => {
                let ping = ::redis::cmd("PING");
                match timeout(ears.probe_interval, connection.ask(&ping)).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Some("silent".into()),
                }
            }
        }
    }
}

async fn subscribe_to(connection: &Wire, channels: &[Channel]) -> RedisResult<Vec<Value>> {
    let mut subscribe = Pipeline::with_capacity(channels.len());
    for channel in channels {
        // One by one: channels of one command would have to share a slot.
        subscribe.cmd("SSUBSCRIBE").arg(&**channel);
    }
    connection.ask_all(&subscribe).await
}

enum Heard {
    Event(PushEvent),
    Unsubscribed,
    Nothing,
}

fn event_of(push: PushInfo) -> Heard {
    let mut data = push.data.into_iter();
    let mut bytes = || from_redis_value::<Vec<u8>>(data.next()?).ok();
    match push.kind {
        PushKind::SSubscribe => match bytes() {
            Some(channel) => Heard::Event(PushEvent::Subscribed(channel.into())),
            None => Heard::Nothing,
        },
        PushKind::SMessage => match (bytes(), bytes()) {
            (Some(channel), Some(payload)) => {
                Heard::Event(PushEvent::Message { channel: channel.into(), payload })
            }
            _ => Heard::Nothing,
        },
        // We never ask for this: the slot has moved to another primary.
        PushKind::SUnsubscribe => Heard::Unsubscribed,
        _ => Heard::Nothing,
    }
}

#[cfg(test)]
impl Subscriber {
    /// One that hears what its maker sends.
    pub(super) fn over(events: mpsc::Receiver<PushEvent>, task: AbortOnDropHandle<()>) -> Self {
        Self { events, _task: task }
    }
}
