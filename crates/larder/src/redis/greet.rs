//! The first exchange on a connection: is this a server we can work with, and is it a primary?

use std::time::Duration;

use ::redis::{Cmd, Value, cmd, from_redis_value, pipe};

use super::{error::from_connect, url::Address, wire::Wire};
use crate::{Error, ErrorKind, Result};

/// The oldest Redis that has what the scripts need.
const OLDEST: (u32, u32) = (7, 0);

/// Who answered.
#[derive(Clone, Debug)]
pub(super) struct Greeted {
    /// How to ask for a sign of life from here on.
    pub(super) sign: SignOfLife,
    /// The identity of the server's process, if it may be known: another one after each restart.
    pub(super) run: Option<String>,
}

/// Checks version and role, and gives the connection a name that operators find in `CLIENT LIST`. One round trip.
///
/// A user who may not ask (`NOPERM`) is let through: what the server cannot do will show in the commands themselves.
///
/// # Errors
/// `Config` if the server is a sentinel or older than Redis 7.0; `Unavailable` if it is a replica, because a failover may be going on.
pub(super) async fn greet(connection: &Wire, address: &Address, deadline: Duration) -> Result<Greeted> {
    let mut questions = pipe();
    questions.cmd("INFO").arg("server").cmd("ROLE").cmd("CLIENT").arg("SETNAME").arg("larder");
    let error = |kind, message: String| Error::new(kind, message).context(format!("redis at {address}"));
    let answers = tokio::time::timeout(deadline, connection.ask_all(&questions))
        .await
        .map_err(|_| error(ErrorKind::Unavailable, "accepts connections but does not answer".to_owned()))?
        .map_err(|error| from_connect(&address.to_string(), &error))?;
    let [info, role, _named] = <[Value; 3]>::try_from(answers)
        .map_err(|_| error(ErrorKind::Unavailable, "answered out of step".to_owned()))?;

    let info = from_redis_value::<String>(info).unwrap_or_default();
    judge(&info, role_in(&role)).map_err(|(kind, message)| error(kind, message))?;
    Ok(Greeted {
        sign: if matches!(role, Value::ServerError(_)) { SignOfLife::Ping } else { SignOfLife::Role },
        run: info_field(&info, "run_id").map(str::to_owned),
    })
}

/// Whether a server that says this of itself is one to work with.
fn judge(info: &str, role: Option<&str>) -> Result<(), (ErrorKind, String)> {
    if role == Some("sentinel") {
        let fix = "is a sentinel: use redis-sentinel://host:port/service in the URL";
        return Err((ErrorKind::Config, fix.to_owned()));
    }
    if let Some(version) = info_field(info, "redis_version")
        && parse_version(version).is_some_and(|found| found < OLDEST)
    {
        let (major, minor) = OLDEST;
        let fix = format!("is Redis {version}; Larder needs Redis {major}.{minor} or newer, or Valkey");
        return Err((ErrorKind::Config, fix));
    }
    match role {
        Some("slave") => Err((ErrorKind::Unavailable, "is a replica, not a primary".to_owned())),
        _ => Ok(()),
    }
}

/// What to ask a quiet connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignOfLife {
    /// `ROLE`, which also tells that a primary has become a replica.
    Role,
    /// `PING`, for a user who may not ask for the role.
    Ping,
}

impl SignOfLife {
    pub(super) fn question(self) -> Cmd {
        cmd(match self {
            Self::Role => "ROLE",
            Self::Ping => "PING",
        })
    }
}

/// Whether this answer to `ROLE` comes from a replica.
pub(super) fn is_replica(role: &Value) -> bool {
    role_in(role) == Some("slave")
}

fn role_in(answer: &Value) -> Option<&str> {
    let Value::Array(parts) = answer else { return None };
    match parts.first()? {
        Value::BulkString(role) => std::str::from_utf8(role).ok(),
        Value::SimpleString(role) => Some(role),
        _ => None,
    }
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
    fn old_servers_sentinels_and_replicas_are_told_apart_from_what_is_needed() {
        let judged = |info: &str, role| judge(info, role).map_err(|(kind, _)| kind);
        for version in ["7.0.0", "7.0.15", "8.4.0", "10.2", "unstable"] {
            assert_eq!(judged(&format!("redis_version:{version}\r\n"), Some("master")), Ok(()), "{version}");
        }
        let (_, message) = judge("redis_version:6.2.14\r\n", Some("master")).unwrap_err();
        assert!(message.contains("6.2.14") && message.contains("7.0"), "{message}");
        assert_eq!(judged("redis_version:6.2.14\r\n", Some("slave")), Err(ErrorKind::Config));
        assert_eq!(judged("redis_version:7.2.4\r\n", Some("slave")), Err(ErrorKind::Unavailable));
        assert_eq!(judged("", Some("sentinel")), Err(ErrorKind::Config));
        // A user who may ask neither.
        assert_eq!(judged("", None), Ok(()));
    }

    #[test]
    fn fields_are_found_whole() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_git:0\r\n";
        assert_eq!(info_field(info, "redis_version"), Some("7.0.15"));
        assert_eq!(info_field(info, "redis"), None);
    }
}
