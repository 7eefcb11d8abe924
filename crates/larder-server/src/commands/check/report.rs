//! The table that `larder check` prints.

use std::fmt;

use crate::commands::{OK, TROUBLE, WRONG};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// It works, but somebody should look.
    Warning,
    /// The server could not serve.
    Fault,
}

impl Level {
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warning => "WARN",
            Self::Fault => "FAIL",
        }
    }
}

#[derive(Debug)]
struct Finding {
    level: Level,
    what: String,
    found: String,
    /// What follows from it, on a line of its own.
    effect: Option<String>,
}

/// All findings, in their order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn add(&mut self, level: Level, what: impl Into<String>, found: impl Into<String>) {
        self.0.push(Finding { level, what: what.into(), found: found.into(), effect: None });
    }

    /// A warning, and what follows from it.
    pub(super) fn warn(
        &mut self,
        what: impl Into<String>,
        found: impl Into<String>,
        effect: impl Into<String>,
    ) {
        self.0.push(Finding {
            level: Level::Warning,
            what: what.into(),
            found: found.into(),
            effect: Some(effect.into()),
        });
    }

    /// A fault, and what mends it.
    pub(super) fn fail(&mut self, what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding {
            level: Level::Fault,
            what: what.into(),
            found: found.into(),
            effect: Some(fix.into()),
        });
    }

    /// By the worst finding.
    pub(super) fn exit_code(&self) -> u8 {
        match self.0.iter().map(|finding| finding.level).max() {
            Some(Level::Fault) => WRONG,
            Some(Level::Warning) => TROUBLE,
            Some(Level::Good | Level::Note) | None => OK,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
        for Finding { level, what, found, effect } in &self.0 {
            writeln!(f, "{:<5} {what:<width$}  {found}", level.mark())?;
            if let Some(effect) = effect {
                writeln!(f, "{:5} {:width$}  -> {effect}", "", "")?;
            }
        }
        let count = |level: Level| self.0.iter().filter(|finding| finding.level == level).count();
        match (count(Level::Fault), count(Level::Warning)) {
            (0, 0) => write!(f, "\nAll is well."),
            (0, warnings) => write!(f, "\nIt works, with {warnings} to look at."),
            (faults, _) => write!(f, "\nIt cannot serve: {faults} to mend."),
        }
    }
}
