//! The task that watches one collection: to lead, to read the feed, to invalidate, to remember how far it came.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    WatchRole,
    change::Batch,
    feed::Feed,
    listen::{Listeners, Told},
    poll::Polling,
    seat::{Asked, Seat, Term},
    start::{Start, Why, decide},
    stats::Figures,
    trouble::Trouble,
};
use crate::{Error, Result, document::Collection};

/// The first and the longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a database without change streams is left alone.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(30);
/// How often a database may refuse to go on before its history counts as lost.
const MOST_REFUSALS: u32 = 3;

/// Watches one collection.
pub(super) struct Watcher {
    pub(super) collection: Collection,
    pub(super) seat: Seat,
    pub(super) lease: Duration,
    /// How far back Redis may lose what it had acknowledged.
    pub(super) margin: Duration,
    /// What is done where there is no change stream.
    pub(super) polling: Option<Polling>,
    pub(super) figures: Arc<Figures>,
    pub(super) listeners: Arc<Listeners>,
}

/// What a watcher remembers between rounds.
#[derive(Default)]
struct Desk {
    failures: u32,
    refusals: u32,
    /// To be given up at the end.
    term: Option<Term>,
}

impl Watcher {
    /// Watches until it is told to stop, and lets another node go on then.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut desk = Desk::default();
        while let Some(pause) = stop.run_until_cancelled(self.round(&mut desk)).await {
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.figures.become_(WatchRole::Stopped);
        if let Some(term) = &desk.term {
            // If it fails the lease runs out by itself.
            let _ = self.seat.give_up(term).await;
        }
    }

    /// Tries to lead, and leads as long as it goes well. Returns how long to wait before the next try.
    async fn round(&self, desk: &mut Desk) -> Duration {
        let term = match self.claim().await {
            Ok(Asked::Leads(term)) => term,
            Ok(Asked::Held(left)) => {
                desk.term = None;
                self.figures.become_(WatchRole::Standby);
                return left.min(self.lease / 3);
            }
            Err(error) => return self.failed(desk, &error.to_string()),
        };
        let claimed = Instant::now();
        let term = &*desk.term.insert(term);
        let trouble = tokio::select! {
            // The lease first: a process that was frozen must notice before it goes on.
            biased;
            trouble = self.until_over(term, claimed) => trouble,
            trouble = self.lead(term, &mut desk.refusals) => trouble,
        };
        match trouble {
            Trouble::Replaced => {
                self.figures.replaced.fetch_add(1, Relaxed);
                self.figures.become_(WatchRole::Standby);
                desk.term = None;
                Duration::ZERO
            }
            Trouble::Repeat => Duration::ZERO,
            Trouble::Unsupported(error) => {
                self.figures.become_(WatchRole::Unsupported);
                if self.figures.failed(&error.to_string()) {
                    tracing::warn!(
                        collection = self.name(), %error,
                        "Nothing can be watched: changes past Larder show when entries expire."
                    );
                }
                UNSUPPORTED_PAUSE
            }
            Trouble::Failed(error) | Trouble::Refused(error) | Trouble::HistoryLost(error) => {
                self.failed(desk, &error.to_string())
            }
        }
    }

    async fn claim(&self) -> Result<Asked> {
        // Without a shard that is away another one leads all the same, if the lease does not lie there.
        let histories = self.collection.cache().histories().await.ok();
        self.seat.claim(histories).await
    }

    fn failed(&self, desk: &mut Desk, what: &str) -> Duration {
        if self.figures.failed(what) {
            tracing::warn!(collection = self.name(), error = what, "Watching is interrupted; trying again.");
            desk.failures = 0;
        }
        desk.failures += 1;
        PAUSE.0.saturating_mul(1 << desk.failures.min(10)).min(PAUSE.1)
    }

    /// Returns when the term is over, or may be, or stands on a history that Redis does not have any more.
    async fn until_over(&self, term: &Term, claimed: Instant) -> Trouble {
        let mut until = claimed + self.lease;
        loop {
            let asked = tokio::select! {
                biased;
                () = self.until_due(until) => return Trouble::Replaced,
                asked = async {
                    sleep(self.lease / 3).await;
                    // A shard that does not answer must not cost the lease.
                    let histories = timeout(self.lease / 3, self.collection.cache().histories()).await;
                    let known = histories.as_ref().ok().and_then(|known| known.as_ref().ok()).copied();
                    if known.is_some() && known != term.histories {
                        return Ok(None);
                    }
                    let asked = Instant::now();
                    let kept = self.seat.keep(term, known).await?;
                    Ok(Some((asked, kept, histories)))
                } => asked,
            };
            match asked {
                Ok(Some((asked, true, histories))) => {
                    until = asked + self.lease;
                    if let Ok(Err(error)) = histories {
                        self.fails_in_part(&error);
                    }
                }
                Ok(Some((_, false, _))) => return Trouble::Replaced,
                Ok(None) => return Trouble::Repeat,
                // Redis does not answer: the lease stands until its time runs out.
                Err::<_, Error>(_) => {}
            }
        }
    }

    /// A part of Redis does not answer: what it is to forget is owed to it, and no point is stored meanwhile.
    fn fails_in_part(&self, error: &Error) {
        if self.figures.failed(&error.to_string()) {
            tracing::warn!(
                collection = self.name(), %error,
                "A part of Redis does not answer: the others are told of changes, and it is when it is back."
            );
        }
    }

    /// A process alone is never replaced.
    async fn until_due(&self, until: Instant) {
        match &self.seat {
            Seat::Own(_) => std::future::pending().await,
            Seat::Shared(_) => sleep_until(until).await,
        }
    }

    /// Reads the feed from where the term found it, and from now on if that is lost.
    async fn lead(&self, term: &Term, refusals: &mut u32) -> Trouble {
        if term.histories.is_none() {
            // The rest of Redis may be back in a moment. This term ends then, and the next one knows what the points stand on.
            sleep(self.lease).await;
        }
        let mut start = decide(&term.found, self.margin);
        loop {
            let trouble = match self.follow(term, start, refusals).await {
                Err(trouble) => trouble,
                Ok(never) => match never {},
            };
            let lost = match trouble {
                Trouble::HistoryLost(error) => error,
                Trouble::Refused(error) => {
                    *refusals += 1;
                    if *refusals < MOST_REFUSALS {
                        return Trouble::Refused(error);
                    }
                    error
                }
                other => return other,
            };
            if matches!(start, Start::Fresh(_)) {
                return Trouble::Failed(lost);
            }
            self.figures.history_lost.fetch_add(1, Relaxed);
            tracing::warn!(
                collection = self.name(), error = %lost,
                "The database has lost the history of its changes: everything cached is forgotten."
            );
            start = Start::Fresh(Why::HistoryLost);
        }
    }

    async fn follow(
        &self,
        term: &Term,
        start: Start,
        refusals: &mut u32,
    ) -> Result<std::convert::Infallible, Trouble> {
        let mut feed = self.begin(term, start).await?;
        let name: Arc<str> = self.name().into();
        self.listeners.tell([match start {
            Start::Resume | Start::Rewind(_) => Told::Resumed { collection: name.clone() },
            Start::Fresh(_) => Told::HistoryLost { collection: name.clone() },
        }]);
        self.figures.become_(feed.role());
        self.figures.heard();
        let (mut stored, mut stored_at) = (None, Instant::now());
        let (mut is_news, mut is_acknowledged) = (false, true);
        self.settled(term);
        loop {
            let batch = feed.next().await?;
            *refusals = 0;
            is_acknowledged &= self.apply(term, &batch).await?;
            is_news |= batch.len() > 0;
            // After it was applied, so that a listener reads what it is told of; before it is stored, so that a crash in between
            // tells it again. What is owed, and what comes after it, is told when it is repeated.
            if is_acknowledged {
                let changes = batch.changes.into_iter();
                self.listeners.tell(changes.map(|change| Told::Change { collection: name.clone(), change }));
            }
            let is_settled = self.settled(term);
            if is_settled && !is_acknowledged {
                return Err(Trouble::Repeat);
            }
            // A point that only moved on, past changes of other collections, can wait: it is stored so that it does not get
            // too old to be gone on from.
            let is_due = is_news || stored_at.elapsed() >= self.lease / 3;
            // After it was applied, so that a crash in between applies it again.
            if is_due
                && is_settled
                && batch.token != stored
                && let Some(token) = &batch.token
            {
                if !self.seat.store(term, token).await? {
                    return Err(Trouble::Replaced);
                }
                (stored, stored_at, is_news) = (batch.token.clone(), Instant::now(), false);
            }
            if batch.ended {
                feed = Feed::open(&self.collection, batch.token.as_ref(), self.polling.as_ref()).await?;
            }
        }
    }

    async fn begin(&self, term: &Term, start: Start) -> Result<Feed, Trouble> {
        let open = |place: usize| {
            let after = term.found.tokens.get(place).map(|kept| &kept.token);
            Feed::open(&self.collection, after, self.polling.as_ref())
        };
        let (feed, is_ours) = match start {
            Start::Resume => (open(0).await?, true),
            Start::Rewind(place) => {
                let is_ours = self.seat.rewind(term, place).await?;
                self.figures.rewinds.fetch_add(1, Relaxed);
                tracing::warn!(
                    collection = self.name(),
                    "Redis may have lost invalidations: the changes of the last moments are applied again."
                );
                (open(place).await?, is_ours)
            }
            Start::Fresh(why) => {
                if term.histories.is_none() {
                    // It must be known what the point stands on.
                    self.collection.cache().histories().await?;
                    return Err(Trouble::Repeat);
                }
                // The point first, so that a change between the two is in the feed.
                let feed = Feed::open(&self.collection, None, self.polling.as_ref()).await?;
                self.collection.clear().await?;
                self.figures.clears.fetch_add(1, Relaxed);
                tracing::info!(
                    collection = self.name(),
                    ?why,
                    "Watching begins; everything cached before is forgotten."
                );
                let is_ours = self.seat.begin(term, feed.token().as_ref()).await?;
                (feed, is_ours)
            }
        };
        if is_ours { Ok(feed) } else { Err(Trouble::Replaced) }
    }

    /// Forgets what the batch makes worthless. Returns false if it is owed to some shards; the others have forgotten it.
    async fn apply(&self, term: &Term, batch: &Batch) -> Result<bool, Trouble> {
        let ids = batch.ids();
        let cleared = if batch.clears { self.collection.clear().await.map(drop) } else { Ok(()) };
        let forgotten = match &ids[..] {
            [] => Ok(()),
            ids => self.collection.cache().invalidate_many(ids).await.map(drop),
        };
        // Also for documents that cannot be cached by their id.
        let lists = match batch.changes.is_empty() {
            true => Ok(()),
            false => self.collection.clear_lists().await.map(drop),
        };
        let told = cleared.and(forgotten).and(lists);
        let is_acknowledged = told.is_ok();
        if let Err(error) = told {
            self.go_on_without(term, error).await?;
        }
        self.figures.applied(batch, ids.len());
        Ok(is_acknowledged)
    }

    /// The feed can go on for the shards that answer, as long as this node leads, and knows that it does.
    async fn go_on_without(&self, term: &Term, error: Error) -> Result<(), Trouble> {
        if !self.collection.owes() {
            return Err(error.into());
        }
        match self.seat.keep(term, None).await {
            Ok(true) => self.fails_in_part(&error),
            Ok(false) => return Err(Trouble::Replaced),
            Err(_) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether all that was applied is acknowledged, by the histories that the term stands on: it goes well then.
    fn settled(&self, term: &Term) -> bool {
        let is_settled = term.histories.is_some()
            && self.collection.cache().settled_histories() == term.histories
            && !self.collection.owes();
        if is_settled {
            self.figures.went_well();
        }
        is_settled
    }

    fn name(&self) -> &str {
        self.collection.schema().name()
    }
}
