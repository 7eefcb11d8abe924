//! Finding the primary through Sentinel.

use std::time::Duration;

use ::redis::{Value, cmd, from_redis_value};

use super::{dial::Dialer, url::Address};
use crate::{Error, ErrorKind, Result};

/// Asks the sentinels in turn where the primary of `service` is; the first that knows counts.
///
/// One connection and one round trip for each sentinel asked. The answer may be out of date while a failover goes on;
/// the check of the role that follows each connect catches that.
///
/// # Errors
/// `Config` if a sentinel answers and none knows the service; `Unavailable` if none answers.
pub(super) async fn find_primary(dialer: &Dialer, sentinels: &[Address], service: &str) -> Result<Address> {
    let mut trouble = None;
    let mut unknown_to = None;
    for sentinel in sentinels {
        match ask(dialer, sentinel, service).await {
            Ok(Some(primary)) => return Ok(primary),
            Ok(None) => unknown_to = Some(sentinel),
            Err(error) => trouble = Some(error),
        }
    }
    match unknown_to {
        Some(sentinel) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "sentinel {sentinel} knows no service {service:?}; check the name after the hosts in the URL"
            ),
        )),
        None => Err(trouble.unwrap_or_else(|| Error::new(ErrorKind::Config, "the URL names no sentinel"))),
    }
}

async fn ask(dialer: &Dialer, sentinel: &Address, service: &str) -> Result<Option<Address>> {
    let away =
        |what: String| Error::new(ErrorKind::Unavailable, what).context(format!("sentinel {sentinel}"));
    let mut connection = dialer.open_sentinel(sentinel).await?;
    let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service).take();
    let deadline: Duration = dialer.connect_deadline();
    let reply = tokio::time::timeout(deadline, connection.send_packed_command(&question))
        .await
        .map_err(|_| away("accepts connections but does not answer".to_owned()))?
        .map_err(|error| away(error.to_string()))?;
    match reply {
        Value::Nil => Ok(None),
        Value::ServerError(refusal) => {
            Err(away(format!("{} {}", refusal.code(), refusal.details().unwrap_or_default())))
        }
        reply => {
            let (host, port): (String, u16) =
                from_redis_value(reply).map_err(|_| away("answered with no address".to_owned()))?;
            Ok(Some(Address { host, port }))
        }
    }
}
