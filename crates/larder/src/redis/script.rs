//! Scripts: sent by digest, healed when the server has forgotten them.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::{LazyLock, OnceLock},
};

use ::redis::{Arg, Cmd};
use parking_lot::RwLock;
use sha1::{Digest, Sha1};

/// One Lua script. Meant for a `static`: the digest is computed once a process.
///
/// ```text
/// static FILL: Script = Script::new("fill", include_str!("fill.lua"));
/// ```
pub(crate) struct Script {
    name: &'static str,
    source: &'static str,
    digest: OnceLock<String>,
}

/// Every script that was ever sent, by digest. A `NOSCRIPT` reply inside a pipeline names no script, so the way back
/// from the command to its source goes through here. Bounded by the number of `static` scripts in the program.
static REGISTRY: LazyLock<RwLock<HashMap<&'static str, &'static Script>>> = LazyLock::new(RwLock::default);

impl Script {
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, digest: OnceLock::new() }
    }

    /// The name it has in errors and metrics.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// `EVALSHA` of this script, to be sent through `eval` or as one command of a pipeline.
    pub(crate) fn command(&'static self, keys: &[&[u8]], args: &[&[u8]]) -> Cmd {
        let bytes: usize = keys.iter().chain(args).map(|part| part.len()).sum();
        let mut cmd = Cmd::with_capacity(3 + keys.len() + args.len(), bytes + 64);
        cmd.arg("EVALSHA").arg(self.digest()).arg(keys.len());
        for part in keys.iter().chain(args) {
            cmd.arg(*part);
        }
        cmd
    }

    /// The same call as `EVAL`, which makes the server remember the script. `None` if `evalsha` is no such call.
    pub(crate) fn with_source(evalsha: &Cmd) -> Option<Cmd> {
        let mut cmd = Cmd::new();
        cmd.arg("EVAL").arg(Self::of_call(evalsha)?.source);
        simple_args(evalsha).skip(2).for_each(|arg| {
            cmd.arg(arg);
        });
        Some(cmd)
    }

    /// The script that is called here.
    fn of_call(evalsha: &Cmd) -> Option<&'static Self> {
        let mut args = simple_args(evalsha);
        let (name, digest) = (args.next()?, args.next()?);
        if !name.eq_ignore_ascii_case(b"EVALSHA") {
            return None;
        }
        REGISTRY.read().get(std::str::from_utf8(digest).ok()?).copied()
    }

    /// The source of the script that is called here.
    #[cfg(test)]
    pub(super) fn source_of(evalsha: &Cmd) -> Option<&'static str> {
        Some(Self::of_call(evalsha)?.source)
    }

    fn digest(&'static self) -> &'static str {
        let digest = self.digest.get_or_init(|| {
            Sha1::digest(self.source.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
                hex
            })
        });
        if !REGISTRY.read().contains_key(digest.as_str()) {
            REGISTRY.write().insert(digest, self);
        }
        digest
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.name).finish()
    }
}

/// The keys that `cmd` touches, as far as its shape tells.
pub(crate) fn keys_of(cmd: &Cmd) -> Vec<&[u8]> {
    let mut args = simple_args(cmd);
    let Some(name) = args.next() else { return Vec::new() };
    let is = |candidates: &[&str]| candidates.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
    if is(&["EVALSHA", "EVAL"]) {
        let count = args.nth(1).and_then(|count| std::str::from_utf8(count).ok()?.parse().ok()).unwrap_or(0);
        args.take(count).collect()
    } else if is(&["MGET", "DEL", "UNLINK", "EXISTS", "TOUCH"]) {
        args.collect()
    } else if is(&["GET", "SET", "PTTL", "INCR", "HGET", "HGETALL", "XADD", "PEXPIRE"]) {
        args.take(1).collect()
    } else {
        Vec::new()
    }
}

pub(super) fn simple_args(cmd: &Cmd) -> impl Iterator<Item = &[u8]> {
    cmd.args_iter().filter_map(|arg| match arg {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: Script = Script::new("one", "return 1");

    #[test]
    fn the_digest_is_the_one_redis_computes() {
        assert_eq!(ONE.digest(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn a_call_by_digest_turns_into_one_by_source() {
        let by_digest = ONE.command(&[b"{a}k"], &[b"x", b""]);
        let by_source = Script::with_source(&by_digest).expect("the script is registered");
        let parts: Vec<_> = simple_args(&by_source).collect();
        assert_eq!(parts, [b"EVAL".as_slice(), b"return 1", b"1", b"{a}k", b"x", b""]);
        assert_eq!(keys_of(&by_digest), keys_of(&by_source));
        assert!(Script::with_source(::redis::cmd("GET").arg("k")).is_none());
    }
}
