//! `tags` of a collection: what its documents are tagged with, from their fields.

use larder::document::Schema;

use crate::config::{reader::Reader, validate::describe_unknown_field};

/// The declared templates, such as `category:{category}`, and the fields that they name.
pub(super) fn read(table: &mut Reader<'_>, schema: &Schema) -> (Vec<String>, Vec<String>) {
    let templates: Vec<String> = table.get("tags", Vec::new());
    let mut fields = Vec::new();
    for template in &templates {
        match schema.tag_fields(template) {
            Ok(named) => fields.extend(named),
            Err(error) => {
                let unknown = error.field().filter(|path| schema.find_field(path).is_none());
                let message = unknown.map(|path| describe_unknown_field(schema, path));
                table.report("tags", message.unwrap_or_else(|| error.message().to_owned()));
            }
        }
    }
    (templates, fields)
}
