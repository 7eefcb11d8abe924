//! Finding the primary through Sentinel.

use ::redis::{Value, cmd, from_redis_value};

use super::{dial::Dialer, race::first_success, url::Address};
use crate::{Error, ErrorKind, Result};

/// Asks all sentinels at once where the primary of `service` is; the first that knows counts.
///
/// One connection and one round trip each. The answer may be out of date while a failover goes on; the check of the
/// role that follows each connect catches that.
///
/// # Errors
/// `Config` if none knows the service and one says so, or refuses the login; `Unavailable` if none answers.
pub(super) async fn find_primary(dialer: &Dialer, sentinels: &[Address], service: &str) -> Result<Address> {
    let ask = |sentinel: &Address| {
        let (dialer, sentinel, service) = (dialer.clone(), sentinel.clone(), service.to_owned());
        async move { ask(&dialer, &sentinel, &service).await }
    };
    first_success(sentinels.iter().map(ask)).await
}

async fn ask(dialer: &Dialer, sentinel: &Address, service: &str) -> Result<Address> {
    let error = |kind, what: String| Error::new(kind, what).context(format!("sentinel {sentinel}"));
    let away = |what: &str| error(ErrorKind::Unavailable, what.to_owned());
    let connection = dialer.open_sentinel(sentinel).await?;
    let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service).take();
    let reply = tokio::time::timeout(dialer.connect_deadline(), connection.ask(&question))
        .await
        .map_err(|_| away("accepts connections but does not answer"))?
        .map_err(|failure| away(&failure.to_string()))?;
    match reply {
        Value::Nil => Err(error(
            ErrorKind::Config,
            format!("knows no service {service:?}; check the name after the hosts in the URL"),
        )),
        Value::ServerError(refusal) if refusal.code() == "ERR" => {
            Err(error(ErrorKind::Config, "is no sentinel: use redis://host:port in the URL".to_owned()))
        }
        Value::ServerError(refusal) => {
            Err(away(&format!("{} {}", refusal.code(), refusal.details().unwrap_or_default())))
        }
        reply => {
            let (host, port): (String, u16) =
                from_redis_value(reply).map_err(|_| away("answered with no address"))?;
            Ok(Address { host, port })
        }
    }
}
