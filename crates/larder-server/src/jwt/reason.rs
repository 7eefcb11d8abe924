//! Why a token does not let in, in words for its sender and in a word for the figures.

use std::time::Duration;

use jsonwebtoken::errors::{Error, ErrorKind};

use crate::routes::Refusal;

/// When to come back while the keys are being fetched.
const SOON: Duration = Duration::from_secs(1);
/// When to come back while the issuer does not answer.
const WHEN_BACK: Duration = Duration::from_secs(10);

/// What is wrong with a token, or with what is known here of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TooLong,
    Malformed,
    Algorithm,
    Critical,
    Unnamed,
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    Incomplete,
    Expired,
    TooEarly,
    Role,
    /// The keys are being fetched.
    Pending,
    /// There are no keys, and the issuer does not answer.
    Away,
}

impl Reason {
    pub(super) const ALL: [Self; 15] = [
        Self::TooLong,
        Self::Malformed,
        Self::Algorithm,
        Self::Critical,
        Self::Unnamed,
        Self::UnknownKey,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Incomplete,
        Self::Expired,
        Self::TooEarly,
        Self::Role,
        Self::Pending,
        Self::Away,
    ];

    /// For the figures.
    pub(super) fn name(self) -> &'static str {
        self.words().0
    }

    /// The answer to the token's sender.
    pub(super) fn refuse(self) -> Refusal {
        let (_, detail) = self.words();
        match self {
            Self::Role => Refusal::forbidden(detail),
            Self::Pending => Refusal::busy(detail, SOON),
            Self::Away => Refusal::busy(detail, WHEN_BACK),
            _ => Refusal::invalid_token(detail),
        }
    }

    /// Name and detail. Neither repeats anything of the token, and no quotes: the detail stands in a header between them.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::TooLong => ("too_long", "the token is longer than 8 KiB"),
            Self::Malformed => {
                ("malformed", "the token cannot be read, or names an algorithm that is not known")
            }
            Self::Algorithm => ("algorithm", "the algorithm of the token is not accepted here"),
            Self::Critical => ("critical", "the token demands an extension that is not known here"),
            Self::Unnamed => ("unnamed_key", "the token must name its key (kid): the issuer has several"),
            Self::UnknownKey => ("unknown_key", "the issuer has no such key for the token"),
            Self::Signature => ("signature", "the signature of the token is wrong"),
            Self::Issuer => ("issuer", "the token is of another issuer"),
            Self::Audience => ("audience", "the token is for another audience"),
            Self::Incomplete => ("incomplete", "the token must have exp, iss and aud, and dates as numbers"),
            Self::Expired => ("expired", "the token has expired"),
            Self::TooEarly => ("too_early", "the token is not valid yet"),
            Self::Role => ("role", "the token names no role that is declared here"),
            Self::Pending => ("pending", "the keys of the issuer are being fetched; try again"),
            Self::Away => ("away", "the keys of the issuer cannot be fetched just now; try again"),
        }
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) => {
                Self::Malformed
            }
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Self::Incomplete,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            // Whatever else there may be, now or later: the token has not been verified.
            _ => Self::Signature,
        }
    }
}
