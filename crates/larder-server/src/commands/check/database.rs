//! What the database is, what it can do, and whether it has the indexes that the declared fields need.

use std::{collections::BTreeSet, path::Path};

use bson::DateTime;
use larder::document::{Capability, Database, DatabaseProbe, Field, FilterTemplate, IndexReport, Schema};

use super::{
    clock::Clock,
    report::{Level, Report},
};
use crate::{
    app::{DATABASE_FILE, open_collection, open_database},
    cli::CheckArgs,
    config::{CollectionConfig, Config},
};

/// Past this, ages and log lines of two machines can no longer be compared.
const MAX_CLOCK_OFFSET_MS: i64 = 1_000;

pub(super) async fn check(config: &Config, args: &CheckArgs, report: &mut Report) {
    let place = match &config.mongo.url {
        Some(url) => url.as_shown_url(),
        None => config.data_dir.display().to_string(),
    };
    // What is only looked at is not made.
    let is_new =
        config.mongo.url.is_none() && !args.create_indexes && !config.data_dir.join(DATABASE_FILE).exists();
    let opened = match is_new {
        true => open_new(config).await,
        false => open_database(config).await,
    };
    let probed = match opened {
        Ok(database) => database.probe().await.map(|probe| (database, probe)),
        Err(error) => Err(error),
    };
    let (database, probe) = match probed {
        Ok(probed) => probed,
        Err(error) => {
            report.fail("database", format!("{place}: {error}"), "nothing can be served without it");
            return;
        }
    };
    let place = if is_new { format!("{place} (not there yet: the server makes it)") } else { place };
    report_probe(&place, config.mongo.url.is_none(), &probe, report);
    check_watch(config, &probe, report);
    for declared in &config.collections {
        check_options(&database, declared, report).await;
        check_indexes(config, &database, declared, args, report).await;
    }
}

/// The embedded database as it would be, if the server could make its file.
async fn open_new(config: &Config) -> larder::Result<Database> {
    let folder = &config.data_dir;
    let above = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    let metadata = above.metadata();
    let is_usable = metadata.is_ok_and(|found| found.is_dir() && !found.permissions().readonly());
    if !is_usable {
        let message = format!("cannot be made: {} is no folder that can be written to", above.display());
        return Err(larder::Error::new(larder::ErrorKind::Config, message));
    }
    Database::sqlite_in_memory().await
}

fn report_probe(place: &str, is_embedded: bool, probe: &DatabaseProbe, report: &mut Report) {
    let DatabaseProbe { engine, version, topology, .. } = probe;
    report.add(Level::Good, "database", format!("{engine} {version} at {place}, {}", topology.name()));
    if let Some(server_time) = probe.server_time {
        let offset_ms = server_time.timestamp_millis() - DateTime::now().timestamp_millis();
        let effect = "ages and logs cannot be compared";
        Clock { of: "database", offset_ms, max_offset_ms: MAX_CLOCK_OFFSET_MS, effect }.report(report);
    }
    for Capability { name, available, without } in &probe.capabilities {
        if *available {
            report.add(Level::Good, *name, "yes");
        } else if is_embedded {
            // What the embedded database lacks is what it is, and nothing to mend.
            report.add(Level::Note, *name, format!("no: {without}"));
        } else {
            report.warn(*name, "no", *without);
        }
    }
}

/// Says how changes are seen that other programs make.
fn check_watch(config: &Config, probe: &DatabaseProbe, report: &mut Report) {
    if !config.watch.enabled {
        report.add(Level::Note, "watch", "off: changes by other programs show when cached copies expire");
        return;
    }
    if probe.can("change streams") {
        report.add(Level::Good, "watch", "changes by other programs are seen through change streams");
        return;
    }
    if config.mongo.url.is_none() {
        return;
    }
    for declared in &config.collections {
        let what = format!("watch of {}", declared.name);
        match &declared.poll_updated_at {
            Some(field) => {
                report.add(Level::Note, what, format!("{field} is polled: deletions show when copies expire"));
            }
            None => report.warn(
                what,
                "neither change streams nor poll_updated_at",
                "changes by other programs show when cached copies expire; run MongoDB as a replica set, or declare \
                 poll_updated_at",
            ),
        }
    }
}

/// Says what of a collection is so that Larder and the database do not mean the same.
async fn check_options(database: &Database, declared: &CollectionConfig, report: &mut Report) {
    let what = format!("collection {}", declared.name);
    let options = match open_collection(database, None, declared) {
        Ok(collection) => collection.options().await,
        Err(error) => Err(error),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return report.warn(what, "its options could not be looked at", error.to_string()),
    };
    if let Some(collation) = options.collation {
        let effect = "for Larder texts are equal byte for byte: an id in other letters is not found when it is read, but a \
                      write by it may change another document, and filters and pages of texts follow the database; use a \
                      collection without a collation";
        report.warn(&what, format!("it has the collation {collation}"), effect);
    }
    if let Some(shown) = options.view_on {
        let effect = "it cannot be written to, and its changes are not seen: cached copies expire; declare the collection";
        report.warn(&what, format!("it is a view of {shown}"), effect);
    }
}

async fn check_indexes(
    config: &Config,
    database: &Database,
    declared: &CollectionConfig,
    args: &CheckArgs,
    report: &mut Report,
) {
    let what = format!("indexes of {}", declared.name);
    if args.create_indexes {
        let created = match open_collection(database, None, declared) {
            Ok(collection) => collection.ensure_indexes().await,
            Err(error) => Err(error),
        };
        if let Err(error) = created {
            report.warn(&what, "could not be created", error.to_string());
        }
    }
    let schema = match config.mongo.url {
        Some(_) => with_rows(declared),
        // The embedded database makes the indexes that it is asked about.
        None => {
            report_rows_without_index(declared, report);
            declared.schema.clone()
        }
    };
    let wanted = match database.index_report(&schema).await {
        Ok(wanted) => wanted,
        Err(error) => {
            report.warn(what, "could not be looked at", error.to_string());
            return;
        }
    };
    let missing: Vec<&IndexReport> = wanted.iter().filter(|wanted| wanted.index.is_none()).collect();
    if missing.is_empty() {
        let found = match wanted.len() {
            0 => "none is needed".to_owned(),
            1 => "the one that is needed is there".to_owned(),
            wanted => format!("all {wanted} are there"),
        };
        report.add(Level::Good, what, found);
        return;
    }
    let is_embedded = config.mongo.url.is_none();
    for missing in missing {
        report_missing(declared, missing, is_embedded, report);
    }
}

fn report_missing(
    declared: &CollectionConfig,
    missing: &IndexReport,
    is_embedded: bool,
    report: &mut Report,
) {
    let what = format!("indexes of {}", declared.name);
    let IndexReport { field, keys, .. } = missing;
    let effect = match declared.require_index {
        true => "such a list is refused",
        false => "such a list reads the whole collection",
    };
    if is_embedded {
        // It has made all that it can have, and nobody can mend the others.
        let found = format!("none for {field}: embedded, there is none of what is in arrays, and {effect}");
        report.add(Level::Note, what, found);
        return;
    }
    let options = missing.options();
    let make = match options.is_empty() {
        true => format!("createIndex({keys})"),
        // MongoDB has one text index for a collection at most.
        false => format!("createIndex({keys}, {options}), in place of any other text index"),
    };
    let effect = format!("{effect}; db.{}.{make}", declared.schema.name());
    report.warn(what, format!("none for {field}"), effect);
}

/// The fields that some role's rows are told apart by: each of its lists compares them.
fn row_fields(declared: &CollectionConfig) -> BTreeSet<&str> {
    rows(declared).flat_map(FilterTemplate::fields).collect()
}

/// The fields whose words some role's rows are told apart by.
fn row_words(declared: &CollectionConfig) -> BTreeSet<&str> {
    rows(declared).flat_map(FilterTemplate::searched).collect()
}

fn rows(declared: &CollectionConfig) -> impl Iterator<Item = &FilterTemplate> {
    declared.grants.iter().filter_map(|grant| grant.rows.as_ref())
}

/// The declaration as if all fields of rows could be filtered by, or searched.
fn with_rows(declared: &CollectionConfig) -> Schema {
    let (schema, fields, words) = (&declared.schema, row_fields(declared), row_words(declared));
    let with_rows = |field: &Field| {
        let field = field.clone();
        let field = if fields.contains(field.path()) { field.filterable() } else { field };
        if words.contains(field.path()) { field.searchable() } else { field }
    };
    let empty = Schema::new(schema.name(), schema.id_type()).strict(schema.is_strict());
    schema.fields().iter().map(with_rows).fold(empty, Schema::field)
}

fn report_rows_without_index(declared: &CollectionConfig, report: &mut Report) {
    let is_indexed = |field: &Field| field.is_filterable() || field.is_sortable();
    report_rows(declared, &row_fields(declared), is_indexed, "filter", report);
    report_rows(declared, &row_words(declared), Field::is_searchable, "search", report);
}

fn report_rows(
    declared: &CollectionConfig,
    paths: &BTreeSet<&str>,
    is_indexed: impl Fn(&Field) -> bool,
    setting: &str,
    report: &mut Report,
) {
    for path in paths {
        if *path != "_id" && !declared.schema.find_field(path).is_some_and(&is_indexed) {
            let effect = format!(
                "a list of a role with rows reads the whole collection; declare the field with {setting} = true"
            );
            report.warn(format!("rows of {}", declared.name), format!("no index for {path}"), effect);
        }
    }
}
