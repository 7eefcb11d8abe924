//! What settings must be true of each other.

use larder::document::{Field, Schema};

use crate::config::{
    ANONYMOUS, CollectionConfig, Config, Grant, Verb, find_nearest, is_within, reader::Context,
};

/// Reports everything that contradicts something else.
pub(super) fn check(config: &Config, context: &Context<'_>) {
    check_keys(config, context);
    for (index, collection) in config.collections.iter().enumerate() {
        let path = format!("collection[{index}]");
        if config.collections[..index].iter().any(|earlier| earlier.name == collection.name) {
            context.report(
                format!("{path}.name"),
                collection.line,
                format!("\"{}\" is declared twice", collection.name),
            );
        }
        check_stored_name(config, index, &path, context);
        for (grant_index, grant) in collection.grants.iter().enumerate() {
            let path = format!("{path}.grant[{grant_index}]");
            check_role_name(config, context, &format!("{path}.role"), grant.line, &grant.role);
            if collection.grants[..grant_index].iter().any(|earlier| earlier.role == grant.role) {
                let message = format!("\"{}\" has a grant here already", grant.role);
                context.report(format!("{path}.role"), grant.line, message);
            }
            check_field_lists(grant, collection, &path, context);
            check_rows(grant, config, &path, context);
            let queries: Vec<&str> = collection.schema.pipelines().iter().map(|query| query.name()).collect();
            for name in grant.queries.iter().filter(|name| !queries.contains(&name.as_str())) {
                let message = with_nearest(name, &queries, "is not a declared query");
                context.report(format!("{path}.queries"), grant.line, message);
            }
        }
    }
}

/// Two collections with one place in the database would each cache on their own, and not see what is written through the other.
fn check_stored_name(config: &Config, index: usize, path: &str, context: &Context<'_>) {
    let collection = &config.collections[index];
    let stored_as = collection.schema.name();
    let earlier = || config.collections[..index].iter().map(|earlier| earlier.schema.name());
    let message = if earlier().any(|name| name == stored_as) {
        format!("another collection is stored as \"{stored_as}\" already")
    } else if config.mongo.url.is_none()
        && let Some(alike) = earlier().find(|name| name.eq_ignore_ascii_case(stored_as))
    {
        format!(
            "SQLite does not tell \"{stored_as}\" from \"{alike}\", which another collection is stored as: for it, names \
             that differ in case only are one"
        )
    } else {
        return;
    };
    context.report(format!("{path}.stored_as"), collection.line, message);
}

/// Field lists name declared fields, or what is above or below them; and a role that does not see and write every field
/// may not put whole documents: that would remove what it does not see.
fn check_field_lists(grant: &Grant, collection: &CollectionConfig, path: &str, context: &Context<'_>) {
    let lists = [("read", grant.read.as_ref()), ("hide", Some(&grant.hide)), ("write", grant.write.as_ref())];
    for (key, list) in lists {
        for name in list.into_iter().flatten() {
            if let Some(message) = find_unknown_field(&collection.schema, name) {
                context.report(format!("{path}.{key}"), grant.line, message);
            }
        }
    }
    let is_limited = grant.read.is_some() || !grant.hide.is_empty() || grant.write.is_some();
    if is_limited && grant.verbs.contains(&Verb::Replace) {
        let message = "\"replace\" needs a role that reads and writes every field: a whole document without the others \
                       would remove them; use \"patch\"";
        context.report(format!("{path}.verbs"), grant.line, message);
    }
}

/// A role that may not touch every document has nothing that concerns all of them.
fn check_rows(grant: &Grant, config: &Config, path: &str, context: &Context<'_>) {
    let Some(rows) = &grant.rows else { return };
    let report = |key: &str, message: String| context.report(format!("{path}.{key}"), grant.line, message);
    if grant.role == ANONYMOUS
        && let Some(claim) = rows.places().first()
    {
        let message =
            format!("nothing is known of who sends no key, so \"{{{claim}}}\" has no value; write a literal");
        report("rows", message);
    }
    if grant.verbs.contains(&Verb::Purge) {
        let message =
            "\"purge\" is of documents whoever they belong to; grant it to a role without rows".to_owned();
        report("verbs", message);
    }
    if config.auth.roles.iter().any(|role| role.name == grant.role && role.admin) {
        let message =
            "a role with admin = true is shown the ids of all documents; give the rows to another".to_owned();
        report("rows", message);
    }
}

/// What is wrong with a path that is neither a declared field, nor above or below one. Where others are allowed nothing is.
pub(super) fn find_unknown_field(schema: &Schema, path: &str) -> Option<String> {
    let is_near = |field: &Field| is_within(field.path(), path) || is_within(path, field.path());
    let is_known = path == "_id" || !schema.is_strict() || schema.fields().iter().any(is_near);
    (!is_known).then(|| describe_unknown_field(schema, path))
}

/// That a path is not declared, with the nearest one that is.
pub(super) fn describe_unknown_field(schema: &Schema, path: &str) -> String {
    let fields: Vec<&str> = schema.fields().iter().map(Field::path).collect();
    with_nearest(path, &fields, "is not a declared field")
}

fn check_keys(config: &Config, context: &Context<'_>) {
    for (index, key) in config.auth.keys.iter().enumerate() {
        check_role_name(config, context, &format!("key[{index}].role"), key.line, &key.role);
        if config.auth.keys[..index].iter().any(|earlier| earlier.sha256 == key.sha256) {
            context.report(format!("key[{index}].sha256"), key.line, "another key has the same hash");
        }
    }
}

fn check_role_name(config: &Config, context: &Context<'_>, path: &str, line: usize, role: &str) {
    let names: Vec<&str> = config.auth.roles.iter().map(|role| role.name.as_str()).collect();
    if !names.contains(&role) {
        context.report(path, line, with_nearest(role, &names, "is not a declared role"));
    }
}

fn with_nearest(name: &str, candidates: &[&str], what: &str) -> String {
    match find_nearest(name, candidates.iter().copied()) {
        Some(nearest) => format!("\"{name}\" {what}; did you mean \"{nearest}\"?"),
        None => format!("\"{name}\" {what}"),
    }
}
