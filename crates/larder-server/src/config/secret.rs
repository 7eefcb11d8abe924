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
        let place = match rest.rsplit_once('@') {
            // An option may hold this "@", or a password that is not escaped: nothing tells which.
            Some((before, _)) if before.contains('?') => "(hidden)",
            // The last one: a password with "/" or "@" in it works with Redis.
            Some((_, place)) => place,
            None => rest,
        };
        let place = place.split('?').next().unwrap_or_default();
        format!("{scheme}://{place}")
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
        assert_eq!(Secret::new("mongodb://db1/shop?appName=a").as_shown_url(), "mongodb://db1/shop");
        assert_eq!(Secret::new("hunter2").as_shown_url(), "(hidden)");
        assert_eq!(format!("{url:?}"), "(hidden)");
    }

    proptest::proptest! {
        #[test]
        fn a_password_is_not_shown_whatever_is_in_it(password in "[a-z/?#@%:]{0,12}") {
            for url in ["redis://:PASSWORD@cache:6379/0", "mongodb://ann:PASSWORD@cache:6379/0?tls=true"] {
                let shown = Secret::new(url.replace("PASSWORD", &password)).as_shown_url();
                let (_, place) = shown.split_once("://").expect("a scheme is shown");
                proptest::prop_assert!(place == "cache:6379/0" || place == "(hidden)", "{}", shown);
            }
        }
    }
}
