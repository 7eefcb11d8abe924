//! The first words on a connection: who we are, that we speak RESP3, and which database we want.

use ::redis::{ErrorKind as DriverKind, RedisResult, ServerError, Value, cmd, pipe};

use super::{url::Login, wire::Wire};

/// Logs in. One round trip.
///
/// # Errors
/// What the server has against it; `RESP3NotSupported` if it knows no `HELLO`.
pub(super) async fn log_in(wire: &Wire, login: &Login, database: i64) -> RedisResult<()> {
    let mut words = pipe();
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = &login.password {
        hello.arg("AUTH").arg(login.user.as_deref().unwrap_or("default")).arg(password);
    }
    words.add_command(hello);
    if database != 0 {
        words.cmd("SELECT").arg(database);
    }
    // For operators, who find it in `CLIENT LIST`; a server of before 7.2 does not know it, and need not.
    let about = words.len();
    words.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("larder");
    words.cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(env!("CARGO_PKG_VERSION"));
    let replies = wire.ask_all(&words).await?;
    for (index, reply) in replies.into_iter().take(about).enumerate() {
        match reply {
            Value::ServerError(refusal) if index == 0 && speaks_no_resp3(&refusal) => {
                return Err((DriverKind::RESP3NotSupported, "the server knows no HELLO").into());
            }
            Value::ServerError(refusal) => return Err(refusal.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a server that answers so to `HELLO 3` knows that command, and the protocol. Servers differ in how they quote it.
fn speaks_no_resp3(refusal: &ServerError) -> bool {
    let is_unknown = |details: &str| details.to_ascii_lowercase().starts_with("unknown command");
    refusal.code() == "NOPROTO" || refusal.details().is_some_and(is_unknown)
}
