//! Redis URLs: one server, a set of sentinels, or the seeds of a cluster.

use std::fmt;

use crate::{Error, ErrorKind, Result};

const REDIS_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;

/// Where to connect and as whom. `Debug` and `Display` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) mode: Mode,
    pub(crate) tls: bool,
    pub(crate) login: Login,
    pub(crate) database: i64,
}

/// As whom to connect. `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "Login(..)" } else { "Login(none)" })
    }
}

/// The shape of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Single(Address),
    Sentinel { sentinels: Vec<Address>, service: String },
    Cluster(Vec<Address>),
}

/// A host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    /// Reads `redis://`, `rediss://`, `redis-sentinel://h1,h2/service`, `redis-cluster://h1,h2` and their `rediss-` and
    /// `valkey` forms, each with an optional `user:password@` (percent-encoded) and a database number at the end.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        // The URL may hold a password, so no message repeats any of it but the scheme and the host.
        let wrong = |what: String| Error::new(ErrorKind::Config, what).context("redis URL");
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("has no scheme such as redis://".into()))?;
        let (tls, kind) = match scheme.replace("valkey", "redis").as_str() {
            "redis" => (false, Kind::Single),
            "rediss" => (true, Kind::Single),
            "redis-sentinel" => (false, Kind::Sentinel),
            "rediss-sentinel" => (true, Kind::Sentinel),
            "redis-cluster" => (false, Kind::Cluster),
            "rediss-cluster" => (true, Kind::Cluster),
            _ => return Err(wrong(format!("has the unknown scheme {scheme:?}"))),
        };
        if rest.contains(['?', '#']) {
            return Err(wrong("takes no options after ? or #; set them on RedisConfig".into()));
        }
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let login = credentials
            .map_or(Ok(Login::default()), parse_login)
            .map_err(|_| wrong("has credentials that are not percent-encoded UTF-8".into()))?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if kind == Kind::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let mut addresses =
            hosts.split(',').map(|host| Address::parse(host, default_port)).collect::<Result<Vec<_>>>()?;
        let (mode, database) = match kind {
            Kind::Single if addresses.len() == 1 => (Mode::Single(addresses.remove(0)), path),
            Kind::Single => {
                return Err(wrong("names several hosts: use redis-cluster:// or redis-sentinel://".into()));
            }
            Kind::Cluster if matches!(path, "" | "0") => (Mode::Cluster(addresses), ""),
            Kind::Cluster => return Err(wrong("names a database, but a cluster has only database 0".into())),
            Kind::Sentinel => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(wrong("names no service: redis-sentinel://host:26379/mymaster".into()));
                }
                (Mode::Sentinel { sentinels: addresses, service: service.to_owned() }, database)
            }
        };
        let database = match database {
            "" => 0,
            number => number
                .parse::<u16>()
                .map_err(|_| wrong(format!("ends in {number:?}, which is no database number")))?
                .into(),
        };
        Ok(Self { mode, tls, login, database })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Config, format!("{text:?} is no host:port")).context("redis URL");
        let (host, port) = match text.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(wrong)?;
                match port {
                    "" => (host, None),
                    port => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
                }
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let misplaced = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']');
        if host.is_empty() || host.chars().any(misplaced) {
            return Err(wrong());
        }
        let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| wrong()))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let list = |all: &[Address]| all.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        match &self.mode {
            Mode::Single(address) => write!(f, "{scheme}://{address}/{}", self.database),
            Mode::Cluster(seeds) => write!(f, "{scheme}-cluster://{}", list(seeds)),
            Mode::Sentinel { sentinels, service } => {
                write!(f, "{scheme}-sentinel://{}/{service}/{}", list(sentinels), self.database)
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

fn parse_login(text: &str) -> Result<Login, std::string::FromUtf8Error> {
    let (user, password) =
        text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let user = (!user.is_empty()).then(|| percent_decode(user)).transpose()?;
    Ok(Login { user, password: password.map(percent_decode).transpose()? })
}

/// A `%` that no two hex digits follow stays as it is, so a raw password with a `%` in it mostly works.
fn percent_decode(text: &str) -> Result<String, std::string::FromUtf8Error> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_url_is_read() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("valkeys://h:1/3", "rediss://h:1/3"),
            ("redis://[::1]:7000", "redis://[::1]:7000/0"),
            ("redis-cluster://a,b:7001", "redis-cluster://a:6379,b:7001"),
            ("rediss-sentinel://s1,s2:5/main/2", "rediss-sentinel://s1:26379,s2:5/main/2"),
        ] {
            assert_eq!(Target::parse(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let target = Target::parse("redis://ann:s%40cret%zz:x@h/0").unwrap();
        assert_eq!(target.login.user.as_deref(), Some("ann"));
        assert_eq!(target.login.password.as_deref(), Some("s@cret%zz:x"));
        assert!(!format!("{target:?} {target}").contains("cret"));
        assert_eq!(Target::parse("redis://:only@h").unwrap().login.user, None);
        let target = Target::parse("redis://:s/cr@et@cache:6379").unwrap();
        assert_eq!(target.login.password.as_deref(), Some("s/cr@et"));
        assert_eq!(target.to_string(), "redis://cache:6379/0");
    }

    #[test]
    fn a_wrong_url_is_explained_without_its_password() {
        for url in [
            "localhost:6379",
            "http://u:sesame@h",
            "redis://u:sesame@",
            "redis://u:sesame@a,b",
            "redis://u:sesame@h:port",
            "redis://u:sesame@h/x",
            "redis://u:sesame@h?a=b",
            "redis-cluster://u:sesame@h/1",
            "redis-sentinel://u:sesame@h",
            "redis://u:sesame%ff@h",
            "redis://u:sesame@[::1]7000",
            "redis://u:sesame@[[h]",
            "redis://u:sesame@h]",
        ] {
            let error = Target::parse(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    proptest::proptest! {
        /// Any text is either refused, or read and shown without its password.
        #[test]
        fn no_text_upsets_the_reader(
            scheme in "(redis|rediss|redis-cluster|redis-sentinel|valkey|x)",
            password in "[a-z0-9%:/?#@]{8,12}",
            rest in "\\PC{0,30}",
        ) {
            let url = format!("{scheme}://u:{password}@{rest}");
            let shown = match Target::parse(&url) {
                Ok(target) => format!("{target} {target:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            proptest::prop_assert!(!shown.contains(&password), "{}", shown);
            let _ = Target::parse(&rest);
        }
    }
}
