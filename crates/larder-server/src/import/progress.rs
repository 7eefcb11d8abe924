//! What a person sees while an import runs.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// So many reasons are shown; the others stand in the reject file.
const SHOWN_REASONS: u64 = 10;

/// A bar on a terminal, and lines about what was rejected anywhere.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    position: Arc<AtomicU64>,
    shown: u64,
}

impl Progress {
    /// `length` in bytes, if it is known; `position` is moved by the reader.
    pub(super) fn new(length: Option<u64>, position: Arc<AtomicU64>) -> Self {
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), "{bar:32}  {bytes} of {total_bytes}  {msg}"),
            None => (ProgressBar::no_length(), "{spinner}  {bytes}  {msg}"),
        };
        let style =
            ProgressStyle::with_template(template).expect("the template is sound").progress_chars("━╸─");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, position, shown: 0 }
    }

    /// Shows how far it has come.
    pub(super) fn show(&self, imported: u64) {
        self.bar.set_position(self.position.load(Ordering::Relaxed));
        let per_second = imported as f64 / self.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!(
            "{} documents, {}/s",
            HumanCount(imported),
            HumanCount(per_second as u64)
        ));
    }

    /// Says that a document was rejected, the first few times.
    pub(super) fn rejected(&mut self, place: &str, reason: &str, is_kept: bool) {
        self.shown += 1;
        if self.shown <= SHOWN_REASONS {
            self.say(&format!("{place}: {reason}"));
        } else if self.shown == SHOWN_REASONS + 1 {
            self.say(match is_kept {
                true => "More were rejected; the reject file has them all.",
                false => "More would be rejected; --rejects FILE keeps them all.",
            });
        }
    }

    /// A line above the bar.
    fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // A closed standard error is no reason to stop importing.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Leaves only these words, until this is dropped.
    pub(super) fn finish_with(&self, words: String) {
        self.bar.set_style(ProgressStyle::with_template("{spinner}  {msg}").expect("the template is sound"));
        self.bar.set_message(words);
    }

    /// How long it has run.
    pub(super) fn elapsed(&self) -> Duration {
        self.bar.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
