//! The log: lines on standard error, and of each place in the code no more than a person would read.
//!
//! An outage fails many requests in the same way. Each of them may say so; the first few lines of a while tell what is the matter, and
//! how many more there were is told at its end.

use std::{
    collections::HashMap,
    env,
    io::{self, IsTerminal},
    mem,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter},
    fmt,
    layer::{Context, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

const WHILE: Duration = Duration::from_secs(10);
/// So many lines of one place in a while.
const LINES: u64 = 10;

/// Sets up the log of this process; `usual` is what is logged if `LARDER_LOG` does not say. To be called once.
///
/// # Panics
/// If it was called before, or outside a runtime.
pub(crate) fn begin(usual: &str) -> AbortOnDropHandle<()> {
    let wanted = EnvFilter::try_from_env("LARDER_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let (stderr, limit) = (io::stderr(), Limit::default());
    let has_colours = stderr.is_terminal() && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let lines = fmt::layer().with_ansi(has_colours).with_writer(io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(wanted.and(limit.clone()))).init();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut whiles = interval(WHILE);
        loop {
            whiles.tick().await;
            for (place, left_out) in limit.begin_anew() {
                tracing::warn!(left_out, place, "More lines like the last ones of this place were left out.");
            }
        }
    }))
}

/// Lets through so many lines of each place until it begins anew. What somebody has asked to see, which is below the usual, it leaves
/// alone. One lock for a moment with each line: lines are few.
#[derive(Clone, Default)]
struct Limit(Arc<Mutex<HashMap<Identifier, Place>>>);

struct Place {
    name: String,
    lines: u64,
}

impl Limit {
    fn lets_through(&self, line: &Metadata<'_>) -> bool {
        if *line.level() > Level::INFO {
            return true;
        }
        let mut places = self.0.lock();
        let place = places.entry(line.callsite()).or_insert_with(|| {
            let name = format!("{}:{}", line.target(), line.line().unwrap_or_default());
            Place { name, lines: 0 }
        });
        place.lines += 1;
        place.lines <= LINES
    }

    /// Ends the while, and tells which places had more lines, and how many.
    fn begin_anew(&self) -> Vec<(String, u64)> {
        let places = mem::take(&mut *self.0.lock());
        let more = |place: Place| {
            place.lines.checked_sub(LINES).filter(|more| *more > 0).map(|more| (place.name, more))
        };
        places.into_values().filter_map(more).collect()
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.lets_through(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tracing::subscriber::with_default;

    use super::*;

    /// Counts what reaches it.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn of_many_lines_of_one_place_the_first_ones_are_written_and_the_others_counted() {
        let (limit, written) = (Limit::default(), Lines::default());
        let filter = EnvFilter::new("debug").and(limit.clone());
        let log = tracing_subscriber::registry().with(written.clone().with_filter(filter));
        let outage = || (0..1_000).for_each(|_| tracing::warn!("A request was answered with 503."));
        with_default(log, || {
            outage();
            tracing::warn!("Something else.");
            assert_eq!(written.0.swap(0, Relaxed), LINES as usize + 1);
            let left_out: Vec<u64> = limit.begin_anew().into_iter().map(|(_, more)| more).collect();
            assert_eq!(left_out, [1_000 - LINES]);
            outage();
            assert_eq!(written.0.swap(0, Relaxed), LINES as usize);
            (0..1_000).for_each(|_| tracing::debug!("What was asked for."));
            assert_eq!(written.0.load(Relaxed), 1_000);
        });
    }
}
