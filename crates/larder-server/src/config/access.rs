//! `[auth]`, `[[role]]`, `[[key]]` and a collection's `[[collection.grant]]`: who may do what. What is not granted is
//! refused.

use std::net::SocketAddr;

use larder::document::{FilterTemplate, Schema};

use crate::config::{claims::Claims, reader::Reader, rows, verb::Verb};

/// The role of a request that carries no key.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Who may do what, apart from the grants that stand with each collection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auth {
    /// Everyone may do everything. Only for a loopback address.
    pub open: bool,
    /// The declared roles; [`ANONYMOUS`] is always among them.
    pub roles: Vec<Role>,
    /// The keys, by their hashes.
    pub keys: Vec<ApiKey>,
}

/// A role.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// The name that keys and grants use.
    pub name: String,
    /// May read the operator's routes: statistics, metrics, explain.
    pub admin: bool,
    /// May ask for the database past the cache.
    pub bypass: bool,
}

/// An API key. Only its hash is known.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// The role of its bearer.
    pub role: String,
    /// What else is known of its bearer.
    pub claims: Option<Claims>,
    /// The line of its declaration.
    pub line: usize,
}

/// What one role may do with one collection.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The role.
    pub role: String,
    /// The verbs.
    pub verbs: Vec<Verb>,
    /// The named queries it may run. Their answers are not cut by the field lists: the pipeline decides what they show.
    pub queries: Vec<String>,
    /// The only fields it may read; `None` for all that are not hidden.
    pub read: Option<Vec<String>>,
    /// Fields it may not read, filter or sort by.
    pub hide: Vec<String>,
    /// The only fields it may write; `None` for all that it may read.
    pub write: Option<Vec<String>>,
    /// The only documents it may touch, by the claims of who has the role; `None` for all.
    pub rows: Option<FilterTemplate>,
    /// The line of its declaration.
    pub line: usize,
}

/// Reads the roles and keys of a server that listens on this address.
pub(super) fn read(file: &mut Reader<'_>, listen: SocketAddr) -> Auth {
    let mut table = file.table("auth");
    let open = table.get("open", false);
    let keys: Vec<ApiKey> = file.tables("key").into_iter().filter_map(read_key).collect();
    if open && !listen.ip().is_loopback() {
        let message = format!(
            "everyone may do everything, so the server must listen on a loopback address, not {listen}; declare roles, \
             keys and grants, and set open = false, to serve other machines"
        );
        table.report("open", message);
    }
    if open && !keys.is_empty() {
        table.report("open", "keys mean nothing while everyone may do everything; remove one of the two");
    }
    table.finish();
    let mut roles = Vec::new();
    for table in file.tables("role") {
        roles.extend(read_role(table, &roles));
    }
    if roles.iter().all(|role| role.name != ANONYMOUS) {
        roles.push(Role { name: ANONYMOUS.to_owned(), admin: false, bypass: false });
    }
    Auth { open, roles, keys }
}

fn read_role(mut table: Reader<'_>, earlier: &[Role]) -> Option<Role> {
    let name: Option<String> = table.require("name");
    if let Some(twice) = earlier.iter().find(|role| Some(&role.name) == name.as_ref()) {
        table.report("name", format!("\"{}\" is declared twice", twice.name));
    }
    let (admin, bypass) = (table.get("admin", false), table.get("bypass", false));
    table.finish();
    Some(Role { name: name?, admin, bypass })
}

fn read_key(mut table: Reader<'_>) -> Option<ApiKey> {
    let name: Option<String> = table.require("name");
    let role = table.require("role");
    let hash: Option<String> = table.require("sha256");
    let sha256 = hash.and_then(|hash| {
        let decoded = decode_hex(&hash);
        if decoded.is_none() {
            table.report(
                "sha256",
                "must be the SHA-256 of the key in 64 hexadecimal digits (never the key itself)",
            );
        }
        decoded
    });
    let claims = table.find("claims");
    let line = table.line();
    table.finish();
    name?;
    Some(ApiKey { sha256: sha256?, role: role?, claims, line })
}

/// Reads one `[[collection.grant]]` of a collection with this schema.
pub(super) fn read_grant(mut table: Reader<'_>, schema: &Schema) -> Option<Grant> {
    let role = table.require("role");
    let verbs = table.get("verbs", Vec::new());
    let queries = table.get("queries", Vec::new());
    let read = table.find("read");
    let hide = table.get("hide", Vec::new());
    let write = table.find("write");
    let rows = rows::read(&mut table, schema);
    let line = table.line();
    table.finish();
    Some(Grant { role: role?, verbs, queries, read, hide, write, rows, line })
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Whether `path` is `root` or lies below it.
pub(crate) fn is_within(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
