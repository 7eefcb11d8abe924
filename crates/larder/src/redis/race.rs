//! Asking several at once and taking the first good answer.

use tokio::task::JoinSet;

use crate::{Error, ErrorKind, Result};

/// Runs all `attempts` at once and returns the first success; the others are dropped.
///
/// One after the other, an address that swallows packets would cost a whole connect deadline before the next is tried.
///
/// # Errors
/// If none succeeds: a `Config` error if there is one, because waiting will not mend it, else the last that came.
pub(super) async fn first_success<T: Send + 'static>(
    attempts: impl IntoIterator<Item = impl Future<Output = Result<T>> + Send + 'static>,
) -> Result<T> {
    // The tasks belong to this set and end with it, also when the caller is dropped.
    let mut running: JoinSet<Result<T>> = attempts.into_iter().collect();
    let mut failure = Error::new(ErrorKind::Config, "the redis URL names no host");
    let mut worst = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(success)) => return Ok(success),
            Ok(Err(error)) if error.kind() == ErrorKind::Config => worst = Some(error),
            Ok(Err(error)) => failure = error,
            Err(panicked) => failure = Error::new(ErrorKind::Unavailable, panicked.to_string()),
        }
    }
    Err(worst.unwrap_or(failure))
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use futures_util::future::Either;

    use super::*;

    fn error(kind: ErrorKind) -> Either<Ready<Result<u8>>, std::future::Pending<Result<u8>>> {
        Either::Left(ready(Err(Error::new(kind, "no"))))
    }

    #[tokio::test]
    async fn one_that_never_answers_does_not_hold_up_the_others() {
        let attempts = [Either::Right(pending()), error(ErrorKind::Config), Either::Left(ready(Ok(7)))];
        assert_eq!(first_success(attempts).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_waiting_cannot_mend_is_reported_before_what_it_can() {
        let attempts = [ErrorKind::Unavailable, ErrorKind::Config, ErrorKind::Unavailable].map(error);
        assert_eq!(first_success(attempts).await.unwrap_err().kind(), ErrorKind::Config);
        let none: [Ready<Result<u8>>; 0] = [];
        assert_eq!(first_success(none).await.unwrap_err().kind(), ErrorKind::Config);
    }
}
