//! What the sample shop declares: the types of its fields, what may be filtered and sorted, and its named queries.

use bson::{Bson, Document, doc};
use larder::document::{Field, FieldType, IdType, Pipeline, Schema, Variable};

/// The declarations of the sample shop: `products`, `users` and `reviews`.
pub(crate) fn collections() -> Vec<Schema> {
    vec![products(), users(), reviews()]
}

/// What the documents of a sample collection are tagged with.
pub(crate) fn tags_of(collection: &str) -> Vec<String> {
    if collection == "products" { vec!["category:{category}".to_owned()] } else { Vec::new() }
}

fn products() -> Schema {
    let strings = || FieldType::Array(Box::new(FieldType::String));
    Schema::new("products", IdType::Int)
        .field(Field::new("sku", FieldType::String).required().filterable())
        .field(Field::new("name", FieldType::String).required().filterable().sortable().searchable())
        .field(Field::new("description", FieldType::String).searchable())
        .field(Field::new("category", FieldType::String).required().filterable())
        .field(Field::new("tags", strings()).filterable())
        .field(Field::new("price", FieldType::Decimal).required().filterable().sortable())
        .field(Field::new("stock", FieldType::Int).filterable())
        .field(Field::new("rating", FieldType::Double).filterable().sortable())
        .field(Field::new("reviews", FieldType::Int).sortable())
        .field(Field::new("maker", FieldType::Object))
        .field(Field::new("maker.name", FieldType::String).filterable())
        .field(Field::new("maker.country", FieldType::String))
        .field(Field::new("created_at", FieldType::Date).filterable().sortable())
        .field(Field::new("discontinued_at", FieldType::Date))
        .field(Field::new("dimensions", FieldType::Object))
        .field(Field::new("dimensions.width_mm", FieldType::Int))
        .field(Field::new("dimensions.height_mm", FieldType::Int))
        .field(Field::new("dimensions.depth_mm", FieldType::Int))
        .field(Field::new("dimensions.weight_g", FieldType::Int))
        .field(Field::new("variants", FieldType::Array(Box::new(FieldType::Object))))
        .field(Field::new("variants.sku", FieldType::String))
        .field(Field::new("variants.label", FieldType::String))
        .field(Field::new("variants.barcode", FieldType::String))
        .field(Field::new("variants.price", FieldType::Decimal))
        .field(Field::new("variants.stock", FieldType::Int))
        .pipeline(top_rated())
        .pipeline(categories())
}

fn users() -> Schema {
    Schema::new("users", IdType::ObjectId)
        .field(Field::new("name", FieldType::String).required())
        .field(Field::new("email", FieldType::String).required().filterable())
        .field(Field::new("country", FieldType::String).filterable())
        .field(Field::new("joined_at", FieldType::Date).filterable().sortable())
        .field(Field::new("address", FieldType::Object))
        .field(Field::new("address.street", FieldType::String))
        .field(Field::new("address.city", FieldType::String))
        .field(Field::new("address.postcode", FieldType::String))
        .field(Field::new("address.country", FieldType::String))
        .field(Field::new("roles", FieldType::Array(Box::new(FieldType::String))).filterable())
}

fn reviews() -> Schema {
    Schema::new("reviews", IdType::ObjectId)
        .field(Field::new("product_id", FieldType::Int).required().filterable())
        .field(Field::new("user_id", FieldType::ObjectId).required().filterable())
        .field(Field::new("stars", FieldType::Int).required().filterable().sortable())
        .field(Field::new("title", FieldType::String))
        .field(Field::new("body", FieldType::String))
        .field(Field::new("created_at", FieldType::Date).filterable().sortable())
        .field(Field::new("helpful", FieldType::Int))
        .field(Field::new("verified", FieldType::Bool))
        .pipeline(stars_of_product())
}

/// The best products of a category that at least a few people have reviewed.
fn top_rated() -> Pipeline {
    query(
        "top_rated",
        vec![
            doc! { "$match": { "category": { "$var": "category" }, "reviews": { "$gte": { "$var": "min_reviews" } } } },
            doc! { "$sort": { "rating": -1, "reviews": -1, "_id": 1 } },
            doc! { "$limit": 10 },
            doc! { "$project": { "name": 1, "price": 1, "rating": 1, "reviews": 1, "maker.name": 1 } },
        ],
        vec![
            variable("category", FieldType::String, None),
            variable("min_reviews", FieldType::Int, Some(Bson::Int32(5))),
        ],
    )
}

/// One line per category: how many products, what they cost, how they are liked.
fn categories() -> Pipeline {
    query(
        "categories",
        vec![
            doc! { "$group": {
                "_id": "$category",
                "products": { "$sum": 1 },
                "stock": { "$sum": "$stock" },
                "mean_price": { "$avg": "$price" },
                "cheapest": { "$min": "$price" },
                "dearest": { "$max": "$price" },
                "mean_rating": { "$avg": "$rating" },
            } },
            doc! { "$sort": { "products": -1, "_id": 1 } },
        ],
        Vec::new(),
    )
}

/// How often a product got one star, two stars and so on.
fn stars_of_product() -> Pipeline {
    query(
        "stars_of_product",
        vec![
            doc! { "$match": { "product_id": { "$var": "product" } } },
            doc! { "$group": { "_id": "$stars", "reviews": { "$sum": 1 }, "helpful": { "$sum": "$helpful" } } },
            doc! { "$sort": { "_id": -1 } },
        ],
        vec![variable("product", FieldType::Int, None)],
    )
}

fn query(name: &str, stages: Vec<Document>, variables: Vec<Variable>) -> Pipeline {
    Pipeline::new(name, stages, variables).expect("the shop's queries are sound: its tests run them")
}

fn variable(name: &str, field_type: FieldType, default: Option<Bson>) -> Variable {
    Variable { name: name.to_owned(), field_type, default }
}
