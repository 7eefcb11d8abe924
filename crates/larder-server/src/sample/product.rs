//! Products of the sample shop.

use bson::{Bson, Decimal128, Document, doc};

use super::{
    dice::{Dice, Stream},
    review,
    shop::Shop,
    time::{LAST_ARRIVAL, OPENED, TAKEN, date},
    words::{CATEGORIES, Category, LINES, Maker, fill},
};

/// What a product and its reviews agree on; the first throws of the product's dice.
pub(super) struct Facts {
    pub(super) category: &'static Category,
    pub(super) thing: &'static str,
    pub(super) maker: &'static Maker,
    pub(super) created: u32,
    /// 30 to 100; decides how many stars its reviews give.
    pub(super) quality: u32,
}

impl Facts {
    fn throw(dice: &mut Dice) -> Self {
        let category = &CATEGORIES[dice.weighted(CATEGORIES.iter().map(|category| category.percent))];
        Self {
            category,
            thing: dice.pick(category.things),
            maker: &category.makers[dice.below(category.makers.len() as u32) as usize],
            created: dice.between(OPENED, LAST_ARRIVAL),
            quality: 100 - dice.skewed(0, 70),
        }
    }
}

impl Shop {
    /// What the reviews of product `number` need to know about it.
    pub(super) fn facts(&self, number: u32) -> Facts {
        Facts::throw(&mut Dice::new(self.seed, Stream::Product, number))
    }

    /// Product `number`, from 1, which is also its `_id`.
    pub(crate) fn product(&self, number: u32) -> Document {
        let mut dice = Dice::new(self.seed, Stream::Product, number);
        let facts = Facts::throw(&mut dice);
        let make = dice.pick(facts.category.makes);
        let sku = format!("{}-{number:05}", facts.category.prefix);
        let base_cents = dice.skewed(facts.category.price_cents.0, facts.category.price_cents.1);
        let variants = variants(&mut dice, facts.category, &sku, number, base_cents);
        let stock: i32 = variants.iter().map(|variant| variant.get_i32("stock").unwrap_or(0)).sum();
        let tag_count = dice.between(2, 4) as usize;
        let tags = dice.pick_several(facts.category.tags, tag_count);
        let side = |dice: &mut Dice| dice.skewed(facts.category.side_mm.0, facts.category.side_mm.1) as i32;
        let mut product = doc! {
            "_id": i64::from(number),
            "sku": sku,
            "name": format!("{} {make} {}", dice.pick(LINES), facts.thing),
            "description": description(&mut dice, &facts, make),
            "category": facts.category.slug,
            "tags": tags,
            "price": price(base_cents),
            "stock": stock,
            "rating": self.rating(number, facts.quality),
            "reviews": self.reviews_of(number).len() as i32,
            "maker": { "name": facts.maker.name, "country": facts.maker.country },
            "created_at": date(facts.created),
            "dimensions": {
                "width_mm": side(&mut dice),
                "height_mm": side(&mut dice),
                "depth_mm": side(&mut dice),
                "weight_g": dice.skewed(facts.category.weight_grams.0, facts.category.weight_grams.1) as i32,
            },
            "variants": variants,
        };
        // Absent in most products, so that the demo has an optional field to filter by.
        if dice.chance(4) {
            product.insert("discontinued_at", date(dice.between(LAST_ARRIVAL, TAKEN)));
        }
        product
    }

    /// The mean of the stars that the product's reviews give, to one decimal place.
    fn rating(&self, number: u32, quality: u32) -> f64 {
        let reviews = self.reviews_of(number);
        let count = reviews.len() as u32;
        let stars: u32 = reviews
            .map(|review| review::stars(&mut Dice::new(self.seed, Stream::Review, review), quality))
            .sum();
        f64::from((stars * 10 + count / 2) / count) / 10.0
    }
}

/// Two to four variants, each larger and dearer than the one before.
fn variants(dice: &mut Dice, category: &Category, sku: &str, number: u32, base_cents: u32) -> Vec<Document> {
    let count = dice.between(2, 4) as usize;
    let sold_out = dice.chance(6);
    dice.pick_several(category.options, count)
        .into_iter()
        .enumerate()
        .map(|(index, label)| {
            doc! {
                "sku": format!("{sku}-{}", index + 1),
                "label": label,
                "barcode": barcode(number, index as u32),
                "price": price(base_cents + base_cents * index as u32 * 2 / 5),
                "stock": if sold_out { 0 } else { dice.skewed(0, 240) as i32 },
            }
        })
        .collect()
}

/// Cents as an exact decimal, at the next price that shops like: ending in 0, 5 or 9.
fn price(cents: u32) -> Bson {
    let cents = match cents % 10 {
        last @ 1..=4 => cents - last + 5,
        last @ 6..=8 => cents - last + 9,
        _ => cents,
    };
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    text.parse::<Decimal128>().expect("digits around a point are a decimal").into()
}

/// A barcode of the range that is kept for use inside shops, with its check digit.
fn barcode(number: u32, index: u32) -> String {
    let digits = format!("20{number:08}{index:02}");
    let sum: u32 = digits
        .bytes()
        .enumerate()
        .map(|(place, digit)| u32::from(digit - b'0') * if place % 2 == 0 { 1 } else { 3 })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

fn description(dice: &mut Dice, facts: &Facts, make: &str) -> String {
    let article = if make.starts_with(['a', 'e', 'i', 'o', 'u']) { "An" } else { "A" };
    let with_article = format!("{article} {make}");
    let values = [
        ("thing", facts.thing),
        ("make", make),
        ("A_make", with_article.as_str()),
        ("maker", facts.maker.name),
    ];
    let count = dice.between(3, 5) as usize;
    let mut text = String::with_capacity(480);
    for sentence in dice.pick_several(facts.category.sentences, count) {
        if !text.is_empty() {
            text.push(' ');
        }
        fill(&mut text, sentence, &values);
    }
    text
}
