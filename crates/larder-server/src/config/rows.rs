//! `rows` of a grant: the documents that its role may touch.

use larder::document::{FilterTemplate, Schema};

use crate::config::{reader::Reader, validate::describe_unknown_field};

/// The declared conditions, which must all hold; `None` where there are none, or where they are wrong, which has been reported
/// then.
pub(super) fn read(table: &mut Reader<'_>, schema: &Schema) -> Option<FilterTemplate> {
    let conditions: Vec<String> = table.find("rows")?;
    if conditions.is_empty() {
        table.report("rows", "must have a condition; leave it out if the role may touch all documents");
        return None;
    }
    FilterTemplate::new(schema, &conditions)
        .map_err(|error| {
            let at = error.field().unwrap_or_default();
            let is_unknown = !matches!(at, "_id" | "or" | "and") && schema.find_field(at).is_none();
            let message = match is_unknown {
                true => describe_unknown_field(schema, at),
                false => format!("\"{at}\" {}", error.message()),
            };
            table.report("rows", message);
        })
        .ok()
}
