//! `[[collection.partial]]`: the parts of documents that are cached by themselves.

use larder::document::{MAX_PARTIALS, Schema};

use crate::config::{
    access::is_within,
    collection::{is_field_path, require_name},
    reader::Reader,
    validate::find_unknown_field,
};

/// The declared parts: their names and fields.
pub(super) fn read(
    table: &mut Reader<'_>,
    schema: &Schema,
    tag_fields: &[String],
) -> Vec<(String, Vec<String>)> {
    let mut partials: Vec<(String, Vec<String>)> = Vec::new();
    for mut partial in table.tables("partial") {
        let name = require_name(&mut partial);
        let fields: Vec<String> = partial.require("fields").unwrap_or_default();
        if fields.is_empty() || !fields.iter().all(|path| is_field_path(path)) {
            partial.report("fields", "must be a list of field paths");
        }
        for message in fields.iter().filter_map(|path| find_unknown_field(schema, path)) {
            partial.report("fields", message);
        }
        for path in tag_fields.iter().filter(|path| !fields.iter().any(|field| is_within(path, field))) {
            partial.report("fields", format!("must have \"{path}\" too, because documents are tagged by it"));
        }
        if partials.iter().any(|(other, _)| Some(other) == name.as_ref()) {
            partial.report("name", "is declared twice");
        }
        partial.finish();
        partials.extend(name.map(|name| (name, fields)));
    }
    if partials.len() > MAX_PARTIALS {
        table.report("partial", format!("at most {MAX_PARTIALS} of them"));
    }
    partials
}
