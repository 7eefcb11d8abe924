//! One error type for the whole library, cut by what the caller does about it.

use std::{borrow::Cow, convert::Infallible, error::Error as StdError, fmt, sync::Arc, time::Duration};

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
///
/// A miss, a denial and "busy" are answers, not errors; they never appear here.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A server could not be reached, or its breaker is open. Serve something stale, or retry later.
    Unavailable,
    /// The deadline passed. The outcome at the server is unknown.
    Timeout,
    /// A lease or a fence was lost: somebody else owns the work now.
    Lost,
    /// Stored bytes could not be understood. Drop the entry.
    Corrupt,
    /// The configuration cannot work. Stop at start and mend it.
    Config,
    /// The user's own loader or sink failed.
    Source,
    /// The input is wrong; [`Error::field`] names the place. Do not retry as it is.
    Invalid,
    /// The write meets what is already there, such as a duplicate key.
    Conflict,
    /// The input or the answer is larger than its limit.
    TooLarge,
    /// The server has no room for a write; reads still work.
    Full,
}

impl ErrorKind {
    /// A stable lower-case name, used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Corrupt => "corrupt",
            Self::Config => "config",
            Self::Source => "source",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Full => "full",
        }
    }
}

/// An error with its [kind](ErrorKind), what was attempted, and its cause.
///
/// Cheap to clone: all waiters of one shared load receive the same error.
///
/// ```
/// use larder::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Invalid, "is not a number").with_field("price").context("read filter");
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.field(), Some("price"));
/// assert_eq!(error.to_string(), "read filter: price: is not a number");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    context: Option<String>,
    field: Option<String>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    carried_out: CarriedOut,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What is known, beside the kind, of what was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CarriedOut {
    Unsaid,
    /// It may be, though no deadline passed: its connection was lost after it was sent.
    Perhaps,
    /// It is not: it was never sent.
    Never,
}

impl Error {
    /// An error of `kind` with a message: lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            context: None,
            field: None,
            message: message.into(),
            retry_after: None,
            carried_out: CarriedOut::Unsaid,
            source: None,
        }))
    }

    /// Bad input at `field`.
    pub fn invalid(field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message).with_field(field)
    }

    /// Adds what was attempted, in front of what is there already.
    #[must_use]
    pub fn context(mut self, attempted: impl fmt::Display) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.context = Some(match inner.context.take() {
            Some(earlier) => format!("{attempted}: {earlier}"),
            None => attempted.to_string(),
        });
        self
    }

    /// Names the place in the input that is at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).field = Some(field.into());
        self
    }

    /// Keeps the cause, so that [`StdError::source`] leads to it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// Says when a retry may help.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        Arc::make_mut(&mut self.0).retry_after = Some(after);
        self
    }

    /// Marks what went wrong after it was sent: it may have been carried out all the same.
    #[must_use]
    pub(crate) fn in_doubt(self) -> Self {
        self.carried_out(CarriedOut::Perhaps)
    }

    /// Marks what was never sent.
    #[cfg(feature = "mongo")]
    #[must_use]
    pub(crate) fn unsent(self) -> Self {
        self.carried_out(CarriedOut::Never)
    }

    /// Takes such a mark away. Callers get no error with one: it would say nothing of all that they have done before.
    #[must_use]
    pub(crate) fn unmarked(self) -> Self {
        self.carried_out(CarriedOut::Unsaid)
    }

    fn carried_out(mut self, carried_out: CarriedOut) -> Self {
        Arc::make_mut(&mut self.0).carried_out = carried_out;
        self
    }

    /// Of a write: if it may have been carried out all the same, that is what a passed deadline means, with this message.
    #[must_use]
    pub(crate) fn of_write(self, open: &'static str) -> Self {
        match self.0.carried_out {
            CarriedOut::Perhaps => Self::new(ErrorKind::Timeout, open).with_source(self),
            CarriedOut::Unsaid | CarriedOut::Never => self,
        }
    }

    /// Whether what was asked for was never sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.carried_out == CarriedOut::Never
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The place in the input that is at fault, if the input is.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// When a retry may help, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The message alone, without context, field and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

/// What cannot fail has no error to convert; for callers that are generic over both.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(context) = &self.0.context {
            write!(f, "{context}: ")?;
        }
        if let Some(field) = &self.0.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} error: {self}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
