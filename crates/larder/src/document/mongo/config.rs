//! How to reach a MongoDB.

use std::{fmt, time::Duration};

/// Where a MongoDB is and how its connections are kept. TLS, credentials, the replica set and everything else that
/// MongoDB's connection strings know are part of the URL, which must name a database.
///
/// A setting made here wins over the URL.
///
/// ```
/// use larder::document::MongoConfig;
/// let config = MongoConfig::new("mongodb+srv://larder:secret@cluster.example.net/shop").max_connections(32);
/// assert_eq!(format!("{config:?}"), "MongoConfig(mongodb+srv://***@cluster.example.net/shop)");
/// ```
#[derive(Clone)]
#[must_use]
pub struct MongoConfig {
    pub(super) url: String,
    pub(super) app: Option<String>,
    pub(super) max_connections: Option<u32>,
    pub(super) min_connections: Option<u32>,
    pub(super) selection_timeout: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
}

impl MongoConfig {
    /// A connection string with a database in its path: `mongodb://host1,host2/shop?replicaSet=rs0`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            app: None,
            max_connections: None,
            min_connections: None,
            selection_timeout: None,
            connect_timeout: None,
        }
    }

    /// The name that the server's logs and profiler show. Default: the URL's `appName`, else
    /// `larder`.
    pub fn app(mut self, name: impl Into<String>) -> Self {
        self.app = Some(name.into());
        self
    }

    /// The most connections to one server; calls beyond them wait within their deadline. Default: the URL's
    /// `maxPoolSize`, else 100.
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = Some(count);
        self
    }

    /// The connections that are kept open to one server when nothing is asked. Default: the URL's `minPoolSize`, else 0.
    pub fn min_connections(mut self, count: u32) -> Self {
        self.min_connections = Some(count);
        self
    }

    /// How long a call waits for a primary, for instance during an election, before it is refused as unavailable. Once
    /// there has been none for that long, calls are refused at once. Default: the URL's `serverSelectionTimeoutMS`, else 1 s.
    pub fn selection_timeout(mut self, timeout: Duration) -> Self {
        self.selection_timeout = Some(timeout);
        self
    }

    /// How long a new connection may take. A server that keeps silent for about this long counts as gone. Default: the
    /// URL's `connectTimeoutMS`, else 2 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The user name and password as they stand in the URL: what no message may repeat. Where a character that should
    /// have been escaped leaves it open where they end, it is all up to the last `@`.
    fn secret(&self) -> Option<&str> {
        let (_, rest) = self.url.split_once("://")?;
        let (before, _) = rest.rsplit_once('@')?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let may_hold_a_password = before.len() > authority.len() && before.contains(':');
        if may_hold_a_password { Some(before) } else { authority.rsplit_once('@').map(|(secret, _)| secret) }
    }

    /// A text about this URL, without what is secret in it.
    pub(super) fn redact(&self, text: &str) -> String {
        let Some(secret) = self.secret().filter(|secret| !secret.is_empty()) else { return text.to_owned() };
        let password = secret.split_once(':').map_or("", |(_, password)| password);
        let redacted = text.replace(secret, "***");
        if password.is_empty() { redacted } else { redacted.replace(password, "***") }
    }

    /// Why the driver cannot use this URL, in words that repeat nothing secret.
    pub(super) fn reason(&self, driver: &str) -> String {
        // What stands between is read as hosts and options, and repeated piece by piece.
        let is_read_otherwise = self.secret().is_some_and(|secret| secret.contains('?'));
        if is_read_otherwise {
            return "a ? stands before an @; write ? as %3F and @ as %40 in names, passwords and options"
                .to_owned();
        }
        self.redact(driver)
    }
}

impl From<&str> for MongoConfig {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for MongoConfig {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MongoConfig({})", self.redact(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_about_a_url_repeats_its_credentials() {
        let config = MongoConfig::new("mongodb://ann:p%40ss@h1:27017,h2/shop?tls=true");
        assert_eq!(format!("{config:?}"), "MongoConfig(mongodb://***@h1:27017,h2/shop?tls=true)");
        assert_eq!(config.redact("bad password p%40ss for ann:p%40ss"), "bad password *** for ***");
    }

    #[test]
    fn a_password_that_is_not_escaped_is_not_shown_either() {
        for password in ["pa/ss", "pa?ss", "pa#ss", "pa@ss", "pa%ss", "/pa", "?pa@ss", "1/pa", "1?pa"] {
            let config = MongoConfig::new(format!("mongodb://ann:{password}@h1,h2/shop?tls=true"));
            assert_eq!(format!("{config:?}"), "MongoConfig(mongodb://***@h1,h2/shop?tls=true)", "{password}");
        }
    }

    #[tokio::test]
    async fn the_reason_why_a_url_cannot_be_used_holds_no_piece_of_its_password() {
        for password in
            ["sesame/open", "sesame?open", "sesame#open", "sesame@open", "sesame%open", "1?sesame"]
        {
            let config = MongoConfig::new(format!("mongodb://ann:{password}@127.0.0.1:1/shop"));
            let error = super::super::MongoDatabase::open(config).await.expect_err(password).to_string();
            assert!(error.contains("cannot be used"), "{error}");
            assert!(!error.contains("sesame") && !error.contains("open"), "{error}");
        }
    }

    #[test]
    fn a_url_without_credentials_is_told_as_it_is() {
        let config = MongoConfig::new("mongodb://localhost/shop?appName=a@b");
        assert_eq!(format!("{config:?}"), "MongoConfig(mongodb://localhost/shop?appName=a@b)");
    }
}
