//! The first exchange on a connection: is this a server we can work with, and is it a primary?

use std::time::Duration;

use ::redis::{Value, aio::MultiplexedConnection, cmd, from_redis_value, pipe};

use super::{error::from_connect, url::Address};
use crate::{Error, ErrorKind, Result};

/// The oldest Redis that has what the scripts need.
const OLDEST: (u32, u32) = (7, 0);

/// Checks version and role. One round trip.
///
/// A user who may not ask (`NOPERM`) is let through: what the server cannot do will show in the commands themselves.
///
/// # Errors
/// `Config` if the server is older than Redis 7.0; `Unavailable` if it is a replica, because a failover may be going on.
pub(super) async fn greet(
    connection: &mut MultiplexedConnection,
    address: &Address,
    deadline: Duration,
) -> Result<()> {
    let questions = pipe().add_command(cmd("INFO").arg("server").take()).add_command(cmd("ROLE")).clone();
    let error = |kind, message: String| Error::new(kind, message).context(format!("redis at {address}"));
    let answers = tokio::time::timeout(deadline, connection.send_packed_commands(&questions, 0, 2))
        .await
        .map_err(|_| error(ErrorKind::Unavailable, "accepts connections but does not answer".to_owned()))?
        .map_err(|error| from_connect(&address.to_string(), &error))?;
    let [info, role] = <[Value; 2]>::try_from(answers)
        .map_err(|_| error(ErrorKind::Unavailable, "answered out of step".to_owned()))?;

    if let Ok(info) = from_redis_value::<String>(info)
        && let Some(version) = info_field(&info, "redis_version")
        && parse_version(version).is_some_and(|found| found < OLDEST)
    {
        return Err(error(
            ErrorKind::Config,
            format!("is Redis {version}; Larder needs Redis {}.{} or newer, or Valkey", OLDEST.0, OLDEST.1),
        ));
    }
    if let Value::Array(parts) = role
        && let Some(role) = parts.into_iter().next()
        && from_redis_value::<String>(role).is_ok_and(|role| role == "slave")
    {
        return Err(error(ErrorKind::Unavailable, "is a replica, not a primary".to_owned()));
    }
    Ok(())
}

/// The value of `name` in the text that `INFO` returns.
pub(super) fn info_field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse_version("7.0.15").unwrap() >= OLDEST);
        assert!(parse_version("10.2").unwrap() >= OLDEST);
        assert!(parse_version("6.2.14").unwrap() < OLDEST);
        assert_eq!(parse_version("unstable"), None);
    }

    #[test]
    fn fields_are_found_whole() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_git:0\r\n";
        assert_eq!(info_field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(info_field(info, "redis"), None);
    }
}
