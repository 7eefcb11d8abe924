//! What the database itself demands of the documents of a collection.

use bson::{Bson, Document, doc};

use super::MongoCollection;
use crate::Result;

impl MongoCollection {
    /// The `$jsonSchema` that the collection's validator holds writes to; `None` if there is none.
    pub(crate) async fn json_schema(&self) -> Result<Option<Document>> {
        let name = self.schema().name();
        let command = doc! { "listCollections": 1, "filter": { "name": name } };
        let listed = self.call(async { self.database().run_command(command).await }).await?;
        Ok(enforced_schema(&listed, name).cloned())
    }
}

/// The schema in the answer to `listCollections`. One that only warns, or is turned off, demands nothing.
fn enforced_schema<'a>(listed: &'a Document, name: &str) -> Option<&'a Document> {
    let collections = listed.get_document("cursor").ok()?.get_array("firstBatch").ok()?;
    let mut collections = collections.iter().filter_map(Bson::as_document);
    let says = |of: &Document, key: &str, value: &str| of.get_str(key).is_ok_and(|said| said == value);
    let options =
        collections.find(|collection| says(collection, "name", name))?.get_document("options").ok()?;
    let is_off = says(options, "validationAction", "warn") || says(options, "validationLevel", "off");
    let validator = options.get_document("validator").ok().filter(|_| !is_off)?;
    validator.get_document("$jsonSchema").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_validator_counts_where_it_is_enforced() {
        let schema = doc! { "required": ["a"] };
        let listed = |options: Document| {
            let other = doc! { "name": "others", "type": "collection", "options": {} };
            let named = doc! { "name": "things", "type": "collection", "options": options, "info": { "readOnly": false } };
            doc! { "cursor": { "id": 0_i64, "ns": "db.$cmd.listCollections", "firstBatch": [other, named] }, "ok": 1.0 }
        };
        let validator = doc! { "validator": { "$jsonSchema": schema.clone(), "price": { "$gt": 0 } } };
        for (more, is_enforced) in [
            (doc! {}, true),
            (doc! { "validationLevel": "moderate", "validationAction": "error" }, true),
            (doc! { "validationAction": "warn" }, false),
            (doc! { "validationLevel": "off" }, false),
        ] {
            let options: Document = validator.clone().into_iter().chain(more).collect();
            let listed = listed(options.clone());
            assert_eq!(enforced_schema(&listed, "things"), is_enforced.then_some(&schema), "{options}");
            assert_eq!(enforced_schema(&listed, "nothing"), None);
        }
        for options in
            [doc! {}, doc! { "validator": { "price": { "$gt": 0 } } }, doc! { "validator": "none" }]
        {
            assert_eq!(enforced_schema(&listed(options.clone()), "things"), None, "{options}");
        }
        assert_eq!(enforced_schema(&doc! { "ok": 1.0 }, "things"), None);
    }
}
