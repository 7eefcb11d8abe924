//! Text that must not be printed: connection strings with passwords, keys that sign.

use std::fmt;

/// A secret. `Debug` and `Display` never show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// A URL without user, password and options: what may be shown in logs and tables.
    pub(crate) fn as_shown_url(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return "(hidden)".to_owned();
        };
        // The last "@" before the path: a password may itself hold an unescaped "@".
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        let path = path.split('?').next().unwrap_or_default();
        format!("{scheme}://{hosts}{path}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password_and_no_options() {
        let url = Secret::new("mongodb://shop:p@ss@db1:27017,db2:27017/shop?authSource=admin");
        assert_eq!(url.as_shown_url(), "mongodb://db1:27017,db2:27017/shop");
        assert_eq!(Secret::new("redis://:key@cache:6379/0").as_shown_url(), "redis://cache:6379/0");
        assert_eq!(Secret::new("hunter2").as_shown_url(), "(hidden)");
        assert_eq!(format!("{url:?}"), "(hidden)");
    }
}
