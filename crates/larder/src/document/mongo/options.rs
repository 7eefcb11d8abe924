//! What the database itself has been told of a collection.

use bson::{Bson, Document, doc};

use super::MongoCollection;
use crate::{Result, document::CollectionOptions};

impl MongoCollection {
    /// Those of a collection that is not there yet are the default ones.
    pub(crate) async fn options(&self) -> Result<CollectionOptions> {
        let name = self.schema().name();
        let command = doc! { "listCollections": 1, "filter": { "name": name } };
        let listed = self.call(async { self.database().run_command(command).await }).await?;
        Ok(options_of(&listed, name).map(read).unwrap_or_default())
    }
}

/// The options of one in the answer to `listCollections`.
fn options_of<'a>(listed: &'a Document, name: &str) -> Option<&'a Document> {
    let collections = listed.get_document("cursor").ok()?.get_array("firstBatch").ok()?;
    let mut collections = collections.iter().filter_map(Bson::as_document);
    collections.find(|collection| says(collection, "name", name))?.get_document("options").ok()
}

fn read(options: &Document) -> CollectionOptions {
    CollectionOptions {
        json_schema: enforced_schema(options).cloned(),
        collation: options.get_document("collation").ok().filter(|of| !says(of, "locale", "simple")).cloned(),
        view_on: options.get_str("viewOn").ok().map(str::to_owned),
    }
}

fn says(of: &Document, key: &str, value: &str) -> bool {
    of.get_str(key).is_ok_and(|said| said == value)
}

/// A schema that only warns, or is turned off, demands nothing.
fn enforced_schema(options: &Document) -> Option<&Document> {
    let is_off = says(options, "validationAction", "warn") || says(options, "validationLevel", "off");
    let validator = options.get_document("validator").ok().filter(|_| !is_off)?;
    validator.get_document("$jsonSchema").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with a collection `things` that has these options, behind another.
    fn listed(options: Document) -> Document {
        let other = doc! { "name": "others", "type": "collection", "options": {} };
        let named = doc! { "name": "things", "type": "collection", "options": options, "info": { "readOnly": false } };
        doc! { "cursor": { "id": 0_i64, "ns": "db.$cmd.listCollections", "firstBatch": [other, named] }, "ok": 1.0 }
    }

    fn schema_of(listed: &Document) -> Option<Document> {
        read(options_of(listed, "things")?).json_schema
    }

    #[test]
    fn the_schema_of_a_validator_counts_where_it_is_enforced() {
        let schema = doc! { "required": ["a"] };
        let validator = doc! { "validator": { "$jsonSchema": schema.clone(), "price": { "$gt": 0 } } };
        for (more, is_enforced) in [
            (doc! {}, true),
            (doc! { "validationLevel": "moderate", "validationAction": "error" }, true),
            (doc! { "validationAction": "warn" }, false),
            (doc! { "validationLevel": "off" }, false),
        ] {
            let options: Document = validator.clone().into_iter().chain(more).collect();
            let listed = listed(options.clone());
            assert_eq!(schema_of(&listed), is_enforced.then(|| schema.clone()), "{options}");
            assert_eq!(options_of(&listed, "nothing"), None);
        }
        for options in
            [doc! {}, doc! { "validator": { "price": { "$gt": 0 } } }, doc! { "validator": "none" }]
        {
            assert_eq!(schema_of(&listed(options.clone())), None, "{options}");
        }
        assert_eq!(schema_of(&doc! { "ok": 1.0 }), None);
    }

    #[test]
    fn the_plain_order_of_bytes_is_no_collation() {
        for (collation, is_one) in
            [(doc! { "locale": "simple" }, false), (doc! { "locale": "en", "strength": 2 }, true)]
        {
            let found = read(&doc! { "collation": collation.clone() });
            assert_eq!(found.collation, is_one.then_some(collation));
        }
        assert_eq!(read(&doc! {}), CollectionOptions::default());
        assert_eq!(read(&doc! { "viewOn": "other", "pipeline": [] }).view_on.as_deref(), Some("other"));
    }
}
