//! The sample shop is what it says it is.

use std::collections::HashSet;

use bson::{Bson, Document, RawDocumentBuf};
use larder::document::{Collection, Database, Expect, Filter, Id};
use sha2::{Digest, Sha256};

use super::{
    collections,
    load::load_shop,
    marker::Marker,
    shop::{Shop, Sizes},
};

const TINY: Sizes = Sizes { products: 200, users: 50, reviews: 600 };
const SMALL: Sizes = Sizes { products: 2_000, users: 500, reviews: 6_000 };

fn documents(shop: &Shop, sizes: Sizes) -> impl Iterator<Item = Document> {
    (1..=sizes.products)
        .map(|number| shop.product(number))
        .chain((0..sizes.users).map(|number| shop.user(number)))
        .chain((0..sizes.reviews).map(|number| shop.review(number)))
}

fn hash(seed: u64) -> String {
    let mut hasher = Sha256::new();
    for document in documents(&Shop::new(seed, SMALL), SMALL) {
        hasher.update(bson::serialize_to_vec(&document).unwrap());
    }
    format!("{:x}", hasher.finalize())
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_every_release() {
    assert_eq!(hash(42), "949d65dcb3b7b13ac43433121f6a117a5a7b7ef9c2982340782c5e2d977d4de9");
    assert_ne!(hash(43), hash(42));
}

#[test]
fn a_product_weighs_about_a_kilobyte() {
    let shop = Shop::new(42, SMALL);
    let total: usize =
        (1..=SMALL.products).map(|number| bson::serialize_to_vec(&shop.product(number)).unwrap().len()).sum();
    let mean = total / SMALL.products as usize;
    assert!((900..1_300).contains(&mean), "{mean} bytes");
}

#[test]
fn the_rating_of_a_product_is_the_mean_of_its_reviews() {
    let shop = Shop::new(42, SMALL);
    for number in [1, 2, 777, SMALL.products] {
        let stars: Vec<i32> =
            shop.reviews_of(number).map(|review| shop.review(review).get_i32("stars").unwrap()).collect();
        let mean = f64::from(stars.iter().sum::<i32>()) / stars.len() as f64;
        let rating = shop.product(number).get_f64("rating").unwrap();
        assert!((rating - mean).abs() <= 0.051, "product {number}: {rating} for {mean}");
    }
}

#[test]
fn every_review_points_to_a_user_and_a_product_and_is_younger_than_both() {
    let shop = Shop::new(42, SMALL);
    let users: HashSet<_> =
        (0..SMALL.users).map(|number| shop.user(number).get_object_id("_id").unwrap()).collect();
    let mut pairs = HashSet::new();
    for number in (0..SMALL.reviews).step_by(7) {
        let review = shop.review(number);
        let (product, user) =
            (review.get_i64("product_id").unwrap(), review.get_object_id("user_id").unwrap());
        assert!(users.contains(&user));
        assert!(pairs.insert((product, user)), "a second review of product {product} by one user");
        let product = shop.product(u32::try_from(product).unwrap());
        assert!(review.get_datetime("created_at").unwrap() >= product.get_datetime("created_at").unwrap());
    }
}

#[test]
fn no_sentence_has_a_hole_or_a_small_beginning() {
    let shop = Shop::new(42, SMALL);
    for number in 0..SMALL.reviews {
        let review = shop.review(number);
        let body = review.get_str("body").unwrap();
        assert!(!body.contains(['{', '}']), "{body}");
        assert!(body.starts_with(char::is_uppercase), "{body}");
    }
    for number in 1..=SMALL.products {
        assert!(!shop.product(number).get_str("description").unwrap().contains(['{', '}']));
    }
}

#[test]
fn the_prices_spread_from_pocket_money_to_a_large_purchase() {
    let shop = Shop::new(42, SMALL);
    let mut prices: Vec<f64> = (1..=SMALL.products)
        .map(|number| match shop.product(number).get("price") {
            Some(bson::Bson::Decimal128(price)) => price.to_string().parse().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    prices.sort_by(f64::total_cmp);
    let median = prices[prices.len() / 2];
    assert!((5.0..40.0).contains(&median), "median {median}");
    assert!(prices[0] < 3.0 && prices[prices.len() - 1] > 250.0);
}

#[test]
fn every_field_of_every_document_is_declared() {
    let shop = Shop::new(42, SMALL);
    let schemas = collections();
    for document in documents(&shop, SMALL) {
        let schema = match (document.contains_key("sku"), document.contains_key("email")) {
            (true, _) => &schemas[0],
            (_, true) => &schemas[1],
            _ => &schemas[2],
        };
        for name in document.keys().filter(|name| *name != "_id") {
            assert!(schema.find_field(name).is_some(), "{}.{name} is not declared", schema.name());
        }
        for field in schema.fields().iter().filter(|field| field.is_required()) {
            assert!(document.contains_key(field.path()), "{}.{} is missing", schema.name(), field.path());
        }
    }
}

async fn open(database: &Database) -> Vec<Collection> {
    collections().into_iter().map(|schema| database.collection(schema).build().unwrap()).collect()
}

async fn counts(collections: &[Collection]) -> Vec<u64> {
    let mut counts = Vec::new();
    for collection in collections {
        counts.push(collection.count(&Filter::All).await.unwrap());
    }
    counts
}

#[tokio::test]
async fn a_load_that_was_interrupted_goes_on_and_a_load_that_is_done_is_not_repeated() {
    let database = Database::sqlite_in_memory().await.unwrap();
    let collections = open(&database).await;
    // As an interrupted load leaves it: begun, with some of the users.
    Marker::new(&database).unwrap().set(42, false).await.unwrap();
    let users: Vec<Document> = (0..40).map(|number| Shop::new(42, TINY).user(number)).collect();
    collections[1].insert_many(&users).await.unwrap();

    load_shop(&database, &collections, Shop::new(42, TINY)).await.unwrap();
    assert_eq!(counts(&collections).await, [200, 50, 600]);

    // Documents that people delete stay deleted.
    collections[0].delete(&Id::Int(7), &Expect::Any).await.unwrap();
    load_shop(&database, &collections, Shop::new(42, TINY)).await.unwrap();
    assert_eq!(counts(&collections).await, [199, 50, 600]);
}

#[tokio::test]
async fn a_database_with_documents_of_its_own_is_left_alone() {
    let database = Database::sqlite_in_memory().await.unwrap();
    let collections = open(&database).await;
    collections[0].insert(Shop::new(7, TINY).product(1)).await.unwrap();
    load_shop(&database, &collections, Shop::new(42, TINY)).await.unwrap();
    assert_eq!(counts(&collections).await, [1, 0, 0]);
}

#[tokio::test]
async fn the_named_queries_of_the_shop_answer() {
    let database = Database::sqlite_in_memory().await.unwrap();
    let collections = open(&database).await;
    let shop = Shop::new(42, TINY);
    let reviews_of_one = shop.reviews_of(1).len() as i64;
    load_shop(&database, &collections, shop).await.unwrap();

    let values = |pairs: &[(&str, Bson)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let sum = |documents: &[RawDocumentBuf], field: &str| -> i64 {
        documents.iter().map(|document| i64::from(document.get_i32(field).unwrap())).sum()
    };
    let stars =
        collections[2].aggregate("stars_of_product", &values(&[("product", Bson::Int64(1))])).await.unwrap();
    assert_eq!(sum(&stars, "reviews"), reviews_of_one);
    let categories = collections[0].aggregate("categories", &values(&[])).await.unwrap();
    assert_eq!(sum(&categories, "products"), 200);
    let wanted = values(&[("category", Bson::String("cookware".into())), ("min_reviews", Bson::Int32(2))]);
    let top = collections[0].aggregate("top_rated", &wanted).await.unwrap();
    let ratings: Vec<f64> = top.iter().map(|document| document.get_f64("rating").unwrap()).collect();
    assert!(ratings.len() > 3 && ratings.is_sorted_by(|better, worse| better >= worse), "{ratings:?}");
}
