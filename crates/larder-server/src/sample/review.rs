//! Reviews of the sample shop.

use bson::{Document, doc};

use super::{
    dice::{Dice, Stream},
    product::Facts,
    shop::Shop,
    time::{TAKEN, date, object_id},
    words::{CLOSINGS, FRIENDS, OPENINGS, SPANS, VOICES, fill},
};

/// How many stars a review gives; the first throw of the review's dice.
pub(super) fn stars(dice: &mut Dice, quality: u32) -> u32 {
    let lack = 100 - quality;
    let weights = [1 + lack / 3, 2 + lack / 3, 6 + lack / 2, 30, 8 + quality * 4 / 5];
    1 + dice.weighted(weights.into_iter()) as u32
}

impl Shop {
    /// Review `number`, from 0. It is younger than its product and its user.
    pub(crate) fn review(&self, number: u32) -> Document {
        let product = self.product_of(number);
        let facts = self.facts(product);
        let mut dice = Dice::new(self.seed, Stream::Review, number);
        let stars = stars(&mut dice, facts.quality);
        let (user, joined) = self.user_id(self.reviewer(product, number));
        let created = dice.between(joined.max(facts.created), TAKEN);
        doc! {
            "_id": object_id(created, number),
            "product_id": i64::from(product),
            "user_id": user,
            "stars": stars as i32,
            "title": dice.pick(VOICES[stars as usize - 1].titles),
            "body": body(&mut dice, &facts, stars),
            "created_at": date(created),
            "helpful": dice.skewed(0, 60) as i32,
            "verified": dice.chance(82),
        }
    }

    /// The user who wrote a review. Nobody reviews the same product twice while it has fewer reviews than there are users:
    /// the reviews of a product step through the users by a number that has no factor in common with their count.
    fn reviewer(&self, product: u32, review: u32) -> u32 {
        let turn = u64::from(review - self.reviews_of(product).start);
        let first = Dice::new(self.seed, Stream::Plan, product).below(self.sizes.users);
        ((u64::from(first) + turn * 1_009) % u64::from(self.sizes.users)) as u32
    }
}

fn body(dice: &mut Dice, facts: &Facts, stars: u32) -> String {
    let voice = &VOICES[stars as usize - 1];
    let sentences = if facts.category.edible { voice.edible } else { voice.durable };
    let count = dice.between(1, 4) as usize;
    let mut templates = Vec::with_capacity(6);
    if dice.chance(75) {
        templates.push(dice.pick(OPENINGS));
    }
    templates.extend(dice.pick_several(sentences, count));
    if dice.chance(30) {
        templates.push(dice.pick(CLOSINGS));
    }
    // One friend and one span per review: a reviewer with six relatives in three lines does not read like a person.
    let values = [
        ("thing", facts.thing),
        ("maker", facts.maker.name),
        ("span", dice.pick(SPANS)),
        ("who", dice.pick(FRIENDS)),
    ];
    let mut text = String::with_capacity(320);
    for template in templates {
        if !text.is_empty() {
            text.push(' ');
        }
        let start = text.len();
        fill(&mut text, template, &values);
        capitalise(&mut text, start);
    }
    text
}

/// Makes the letter at `start` a capital; all of our sentences begin with an ASCII letter.
fn capitalise(text: &mut String, start: usize) {
    if let Some(first) = text[start..].chars().next().filter(char::is_ascii_lowercase) {
        text.replace_range(start..=start, first.to_ascii_uppercase().encode_utf8(&mut [0; 4]));
    }
}
