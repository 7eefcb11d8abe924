//! What a verified token says: for how long it lets in, and as which role.

use std::time::Duration;

use serde_json::{Map, Value};

use super::reason::Reason;
use crate::{
    auth::RoleId,
    config::{ANONYMOUS, Auth, JwtSettings},
};

/// When a token lets in, in seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    begins: u64,
    ends: u64,
}

impl Lifetime {
    /// Reads `exp` and `nbf`.
    ///
    /// # Errors
    /// No `exp`, or a date that is no number.
    pub(super) fn of(claims: &Map<String, Value>, leeway: Duration) -> Result<Self, Reason> {
        let leeway = leeway.as_secs();
        let expires = claims.get("exp").and_then(|date| seconds(date, f64::floor));
        let not_before = match claims.get("nbf") {
            None => Some(0),
            Some(date) => seconds(date, f64::ceil),
        };
        let (Some(expires), Some(not_before)) = (expires, not_before) else {
            return Err(Reason::Incomplete);
        };
        Ok(Self { begins: not_before.saturating_sub(leeway), ends: expires.saturating_add(leeway) })
    }

    /// # Errors
    /// It is not yet time, or no more.
    pub(super) fn check(self, now: u64) -> Result<(), Reason> {
        if now >= self.ends {
            Err(Reason::Expired)
        } else if now < self.begins {
            Err(Reason::TooEarly)
        } else {
            Ok(())
        }
    }
}

/// A date of a token may have a fraction of a second.
fn seconds(date: &Value, round: fn(f64) -> f64) -> Option<u64> {
    let fraction = || date.as_f64().filter(|date| *date >= 0.0).map(|date| round(date) as u64);
    date.as_u64().or_else(fraction)
}

/// Which role a token gives.
#[derive(Debug)]
pub(super) struct RoleRule {
    claim: String,
    /// All roles by their places; a token cannot be nobody's.
    names: Vec<String>,
    default: Option<RoleId>,
}

impl RoleRule {
    pub(super) fn new(settings: &JwtSettings, auth: &Auth) -> Self {
        let names: Vec<String> = auth.roles.iter().map(|role| role.name.clone()).collect();
        let mut rule = Self { claim: settings.role_claim.clone(), names, default: None };
        rule.default = settings.default_role.as_deref().and_then(|name| rule.find(name));
        rule
    }

    fn find(&self, name: &str) -> Option<RoleId> {
        self.names.iter().position(|known| known == name && name != ANONYMOUS).map(RoleId)
    }

    /// The first declared role that the claim names; the default only for a token that names none.
    pub(super) fn role_of(&self, claims: &Map<String, Value>) -> Result<RoleId, Reason> {
        let named = match find_claim(claims, &self.claim) {
            None | Some(Value::Null) => return self.default.ok_or(Reason::Role),
            Some(Value::Array(names)) if names.is_empty() => return self.default.ok_or(Reason::Role),
            Some(Value::Array(names)) => names.as_slice(),
            Some(name) => std::slice::from_ref(name),
        };
        named.iter().filter_map(Value::as_str).find_map(|name| self.find(name)).ok_or(Reason::Role)
    }
}

/// A claim by its whole name, for names may have dots in them (`https://shop.example/role`); else by the path.
fn find_claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(claims: Value) -> Map<String, Value> {
        match claims {
            Value::Object(claims) => claims,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_token_lets_in_between_its_dates_and_a_little_around_them() {
        let check = |claims: Value, now| Lifetime::of(&object(claims), Duration::from_secs(30))?.check(now);
        let both = json!({ "nbf": 100, "exp": 200 });
        for (now, expected) in [
            (69, Err(Reason::TooEarly)),
            (70, Ok(())),
            (229, Ok(())),
            (230, Err(Reason::Expired)),
            (u64::MAX, Err(Reason::Expired)),
        ] {
            assert_eq!(check(both.clone(), now), expected, "{now}");
        }
        let fractions = json!({ "nbf": 99.5, "exp": 200.9 });
        assert_eq!(
            [check(fractions.clone(), 69), check(fractions.clone(), 229)],
            [Err(Reason::TooEarly), Ok(())]
        );
        assert_eq!(check(fractions, 230), Err(Reason::Expired));
        assert_eq!(check(json!({ "exp": 1e300 }), u64::MAX - 1), Ok(()));
        for wrong in [
            json!({}),
            json!({ "exp": null }),
            json!({ "exp": "200" }),
            json!({ "exp": -1 }),
            json!({ "exp": -0.5 }),
            json!({ "exp": [200] }),
            json!({ "exp": 200, "nbf": "100" }),
            json!({ "exp": 200, "nbf": null }),
        ] {
            assert_eq!(check(wrong.clone(), 100), Err(Reason::Incomplete), "{wrong}");
        }
    }

    #[test]
    fn the_first_declared_role_counts_and_nobody_is_none() {
        let names = ["reader", "admin", ANONYMOUS].map(str::to_owned).to_vec();
        let rule = |claim: &str, default| RoleRule { claim: claim.to_owned(), names: names.clone(), default };
        let role = |claim, claims| rule(claim, None).role_of(&object(claims)).map(|role| role.0);
        assert_eq!(role("role", json!({ "role": "admin" })), Ok(1));
        assert_eq!(role("role", json!({ "role": ["x", 3, "admin", "reader"] })), Ok(1));
        assert_eq!(role("a.b", json!({ "a": { "b": ["reader"] } })), Ok(0));
        assert_eq!(role("a.b", json!({ "a.b": "admin", "a": { "b": "reader" } })), Ok(1));
        for wrong in [
            json!({}),
            json!({ "role": ANONYMOUS }),
            json!({ "role": "Admin" }),
            json!({ "role": ["x"] }),
            json!({ "role": { "admin": true } }),
            json!({ "role": [["admin"]] }),
        ] {
            assert_eq!(role("role", wrong.clone()), Err(Reason::Role), "{wrong}");
        }
        let with_default = rule("role", Some(RoleId(0)));
        for (claims, expected) in [
            (json!({}), Ok(0)),
            (json!({ "role": null }), Ok(0)),
            (json!({ "role": [] }), Ok(0)),
            (json!({ "role": "admin" }), Ok(1)),
            (json!({ "role": "root" }), Err(Reason::Role)),
        ] {
            assert_eq!(
                with_default.role_of(&object(claims.clone())).map(|role| role.0),
                expected,
                "{claims}"
            );
        }
    }
}
