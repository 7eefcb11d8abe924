//! `larder check`: looks at everything the server would use, and says what is missing and what that turns off.

mod behind;
mod clock;
mod database;
mod redis;
mod report;
mod tokens;

use std::collections::BTreeSet;

use larder::document::Field;

use self::report::{Level, Report};
use crate::{
    cli::{CheckArgs, Options},
    commands::{Loaded, WRONG, complain, counted, load_config, say},
    config::{Config, Verb},
};

/// Prints the report. Returns 0 if all is well, 1 with warnings, 2 if the server could not serve.
pub(crate) async fn run(options: &Options, args: &CheckArgs) -> u8 {
    let Loaded { config, is_sample } = match load_config(options) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(problems);
            return WRONG;
        }
    };
    let mut report = Report::default();
    check_config(&config, is_sample, &mut report);
    database::check(&config, args, &mut report).await;
    redis::check(&config, args, &mut report).await;
    tokens::check(&config, &mut report).await;
    say(report.to_string());
    report.exit_code()
}

fn check_config(config: &Config, is_sample: bool, report: &mut Report) {
    let collections = config.collections.len();
    if is_sample {
        report.add(Level::Good, "config", "no file: the sample shop");
    } else if collections == 0 {
        report.warn(
            "config",
            "no collection is declared",
            "there is nothing to serve; `larder config` shows how",
        );
    } else {
        report.add(Level::Good, "config", counted(collections, "collection", "collections"));
    }
    if config.auth.open {
        report.add(Level::Note, "access", "open: everyone on this machine may do everything");
    } else {
        check_access(config, report);
    }
    if config.redis.url.is_some() && config.cursor_secret.is_none() {
        report.warn(
            "cursor_secret",
            "is not set",
            "with several nodes, a page's cursor is refused by the other nodes",
        );
    }
    for collection in &config.collections {
        let is_asked = |field: &Field| field.is_filterable() || field.is_sortable() || field.is_searchable();
        if !collection.schema.fields().iter().any(is_asked) {
            let what = format!("collection {}", collection.name);
            let found = "no field can be filtered, sorted or searched by; lists come by _id only";
            report.add(Level::Note, what, found);
        }
    }
}

fn check_access(config: &Config, report: &mut Report) {
    let roles_of_keys: BTreeSet<&str> = config.auth.keys.iter().map(|key| key.role.as_str()).collect();
    for collection in &config.collections {
        if collection.grants.is_empty() {
            let what = format!("collection {}", collection.name);
            report.warn(what, "no role is granted anything", "nobody can use it");
        }
        for grant in &collection.grants {
            let is_anonymous = grant.role == crate::config::ANONYMOUS;
            let writes = grant.verbs.iter().any(|verb| !matches!(verb, Verb::Read | Verb::List));
            if is_anonymous && writes {
                let what = format!("collection {}", collection.name);
                report.warn(
                    what,
                    "requests without a key may write",
                    "anybody who reaches the server can change data",
                );
            }
            // A token may name any role.
            let is_used = config.jwt.is_used() || roles_of_keys.contains(grant.role.as_str());
            if !is_anonymous && !is_used {
                let what = format!("role {}", grant.role);
                report.warn(what, "no key has this role", "its grants are of no use to anybody");
            }
        }
    }
}
