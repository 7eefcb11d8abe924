//! From what the driver reports to what the caller does about it.

use std::time::Duration;

use ::redis::{ErrorKind as DriverKind, RedisError, ServerError, ServerErrorKind};

use crate::{Error, ErrorKind};

/// What a reply or a failure says about the server itself, from good to bad. All but sound counts in the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    /// The server answered; what it said is about this one command.
    Sound,
    /// The server or the way to it is in trouble.
    Trouble,
    /// The connection is of no more use: closed, or to a server that is not the primary any more.
    Gone,
}

/// An error reply of the server, mapped, with what it says about the server.
pub(crate) fn from_reply(reply: &ServerError) -> (Error, Health) {
    let code = reply.code();
    let text = || format!("{code} {}", reply.details().unwrap_or_default()).trim_end().to_owned();
    let (kind, health, message) = match code {
        "READONLY" => (ErrorKind::Unavailable, Health::Gone, "redis is a read-only replica now".to_owned()),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" => {
            (ErrorKind::Unavailable, Health::Trouble, text())
        }
        // Writes are refused while reads go on, so this says nothing about the server's health.
        "OOM" => (ErrorKind::Full, Health::Sound, "redis has reached its maxmemory: OOM".to_owned()),
        "MOVED" | "ASK" => (
            ErrorKind::Config,
            Health::Sound,
            "the server is a node of a cluster: use redis-cluster:// in the URL".to_owned(),
        ),
        // Also: a slot is on the move, and the keys of this command are at both ends. Others are answered.
        "MISCONF" | "NOREPLICAS" | "TRYAGAIN" => (ErrorKind::Unavailable, Health::Sound, text()),
        "WRONGTYPE" => (ErrorKind::Corrupt, Health::Sound, "the key holds another type of value".to_owned()),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => (ErrorKind::Config, Health::Sound, text()),
        // `-ERR` and everything unknown: a command this server does not have, or a script with a fault.
        _ => (ErrorKind::Config, Health::Sound, format!("redis refused: {}", text())),
    };
    (Error::new(kind, message), health)
}

/// A failure that is no reply: the way to the server, or bytes that are no RESP.
pub(crate) fn from_driver(error: &RedisError) -> (Error, Health) {
    match error.kind() {
        DriverKind::Server(_) | DriverKind::Extension => match ServerError::try_from(error.clone()) {
            Ok(reply) => from_reply(&reply),
            Err(other) => (Error::new(ErrorKind::Config, other.to_string()), Health::Sound),
        },
        DriverKind::Parse => {
            let error = Error::new(ErrorKind::Unavailable, "redis answered with something else than RESP");
            (error.in_doubt(), Health::Gone)
        }
        DriverKind::Client | DriverKind::InvalidClientConfig => {
            (Error::new(ErrorKind::Config, error.to_string()), Health::Sound)
        }
        _ => {
            let error = Error::new(ErrorKind::Unavailable, format!("connection lost: {error}"));
            (error.in_doubt(), Health::Gone)
        }
    }
}

/// A failure while connecting to `address`. `Config` means that trying again will not help.
pub(crate) fn from_connect(address: &str, error: &RedisError) -> Error {
    let at = |kind, message: String| Error::new(kind, message).context(format!("redis at {address}"));
    match error.kind() {
        DriverKind::AuthenticationFailed => at(
            ErrorKind::Config,
            "the user or password was refused; check them in the URL (user:password@)".to_owned(),
        ),
        DriverKind::RESP3NotSupported => {
            at(ErrorKind::Config, "speaks no RESP3; redis 7.0 or newer is needed".to_owned())
        }
        DriverKind::InvalidClientConfig => at(ErrorKind::Config, error.to_string()),
        DriverKind::Server(ServerErrorKind::NoPerm) => at(ErrorKind::Config, error.to_string()),
        // The driver hides rustls behind an I/O error; its text is all there is to go by.
        _ if error.to_string().contains("invalid peer certificate") => at(
            ErrorKind::Config,
            format!("the server's certificate is not trusted ({error}); set the authority that signed it"),
        ),
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => {
                at(ErrorKind::Config, "the user or password was refused".to_owned())
            }
            _ => at(ErrorKind::Unavailable, error.to_string()),
        },
    }
}

/// The deadline of one operation passed.
pub(crate) fn timed_out(deadline: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("redis did not answer within {} ms", deadline.as_millis()))
}
