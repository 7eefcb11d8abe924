//! Requests that are not answered on the thread of their connection.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use hyper::{body::Incoming, http::request::Parts};
use tokio_util::task::AbortOnDropHandle;

use super::{Answer, dispatch_others, refusal::Refusal};
use crate::app::App;

/// Carries out what may keep a thread busy for longer than a hit does where threads take work from each other, so that the
/// hits of other connections do not wait behind it. It ends when nobody waits for it any more.
pub(super) async fn carry_out(app: &Arc<App>, head: Parts, body: Incoming) -> Result<Answer, Refusal> {
    let work = {
        let app = Arc::clone(app);
        async move { dispatch_others(&app, &head, body).await }
    };
    let ended = AbortOnDropHandle::new(app.runtime.spawn(work)).await;
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_cancelled) => Err(Refusal::busy("the server is stopping", Duration::from_secs(1))),
    })
}
