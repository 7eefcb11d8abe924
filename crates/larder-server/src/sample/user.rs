//! Users of the sample shop.

use bson::{Document, doc, oid::ObjectId};

use super::{
    dice::{Dice, Stream},
    shop::Shop,
    time::{OPENED, TAKEN, date, object_id},
    words::{CITIES, FAMILY_NAMES, GIVEN_NAMES, MAIL_HOSTS, STREETS},
};

/// When a user joined; the first throw of the user's dice.
pub(super) fn joined_at(dice: &mut Dice) -> u32 {
    dice.between(OPENED, TAKEN - 30 * 86_400)
}

impl Shop {
    /// The id of user `number` (from 0) and when they joined, without making the rest of the user.
    pub(super) fn user_id(&self, number: u32) -> (ObjectId, u32) {
        let joined = joined_at(&mut Dice::new(self.seed, Stream::User, number));
        (object_id(joined, number), joined)
    }

    /// User `number`, from 0.
    pub(crate) fn user(&self, number: u32) -> Document {
        let mut dice = Dice::new(self.seed, Stream::User, number);
        let joined = joined_at(&mut dice);
        let (given, family) = (dice.pick(GIVEN_NAMES), dice.pick(FAMILY_NAMES));
        let (city, country, postcode) = CITIES[dice.below(CITIES.len() as u32) as usize];
        doc! {
            "_id": object_id(joined, number),
            "name": format!("{given} {family}"),
            // The number keeps addresses apart when two people share a name.
            "email": format!("{}.{}{number}@{}", ascii(given), ascii(family), dice.pick(MAIL_HOSTS)),
            "country": country,
            "joined_at": date(joined),
            "address": {
                "street": format!("{} {}", dice.between(1, 180), dice.pick(STREETS)),
                "city": city,
                "postcode": format!("{postcode}{}", dice.between(100, 999)),
                "country": country,
            },
            "roles": roles(&mut dice),
        }
    }
}

fn roles(dice: &mut Dice) -> Vec<&'static str> {
    match dice.below(1000) {
        0..5 => vec!["customer", "staff", "admin"],
        5..25 => vec!["customer", "staff"],
        25..80 => vec!["customer", "wholesale"],
        _ => vec!["customer"],
    }
}

/// A name in the letters that every mail server takes.
fn ascii(name: &str) -> String {
    name.chars()
        .filter_map(|letter| match letter {
            'à'..='å' => Some('a'),
            'è'..='ë' => Some('e'),
            'í' => Some('i'),
            'ó' | 'ö' => Some('o'),
            letter if letter.is_ascii_alphabetic() => Some(letter.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
