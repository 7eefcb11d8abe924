//! What customers write. Sentences use `{thing}`, `{maker}`, `{span}` and `{who}`; each must read well for "wok" and for
//! "red lentils", so none of them puts an article before the thing.

/// How a review sounds at a number of stars.
pub(in crate::sample) struct Voice {
    pub(in crate::sample) titles: &'static [&'static str],
    /// About things that last.
    pub(in crate::sample) durable: &'static [&'static str],
    /// About things that are eaten or drunk.
    pub(in crate::sample) edible: &'static [&'static str],
}

/// Lengths of time.
pub(in crate::sample) const SPANS: &[&str] =
    &["a week", "ten days", "three weeks", "a month", "two months", "half a year", "a year", "two winters"];

/// Friends and relations.
pub(in crate::sample) const FRIENDS: &[&str] = &[
    "my sister",
    "my father",
    "a friend",
    "my neighbour",
    "our daughter",
    "my flatmate",
    "a colleague",
    "my mother-in-law",
    "my husband",
    "my wife",
    "our cook",
    "my brother",
];

/// First sentences, for any number of stars.
pub(in crate::sample) const OPENINGS: &[&str] = &[
    "I have known this {thing} for {span} now.",
    "Bought the {thing} as a present for {who}.",
    "We use the {thing} nearly every day.",
    "My second order of {thing} from {maker}.",
    "After {span} I feel able to say something about it.",
    "I read far too many reviews before choosing this {thing}.",
    "Ordered on a Sunday, arrived on Wednesday, in the kitchen ever since.",
    "{who} had this {thing} first, and I was jealous.",
    "I was not sure that I needed this {thing}.",
    "The parcel was small, well packed and without a scrap of plastic.",
    "Let me begin with the box: plain card, one label, done.",
];

/// Last sentences, for any number of stars.
pub(in crate::sample) const CLOSINGS: &[&str] = &[
    "That is all I have to say.",
    "Your kitchen may differ.",
    "Delivery took ten days, for what it is worth.",
    "I will add to this review if anything changes.",
    "The people at {maker} answered my question within a day.",
    "Ask {who}, who agrees with me for once.",
    "Measure your shelf before you order.",
];

/// One voice per number of stars, one star first.
pub(in crate::sample) const VOICES: &[Voice] = &[
    Voice {
        titles: &[
            "Sent it back",
            "Not what I paid for",
            "Disappointed",
            "Spoiled on arrival",
            "Would not buy again",
        ],
        durable: &[
            "It came with a crack that no courier can be blamed for.",
            "After {span} it looked ten years old.",
            "The picture shows a finish that mine simply does not have.",
            "I wrote to {maker} twice and heard nothing.",
            "At this price I expect it to do its one job.",
            "{who} warned me, and was right.",
            "The smell did not go away, whatever I tried.",
        ],
        edible: &[
            "It tasted of the cupboard it must have stood in.",
            "The date on the label left me {span} to finish it.",
            "The seal was broken and half of it was in the box.",
            "I wrote to {maker} twice and heard nothing.",
            "{who} took one mouthful and asked what was wrong with it.",
            "Dull, flat and dear.",
        ],
    },
    Voice {
        titles: &[
            "Had hoped for more",
            "Falls short",
            "Only just",
            "Looks better than it is",
            "Two stars for the label",
        ],
        durable: &[
            "It works, but it never feels good to use.",
            "The details are careless: a burr here, a gap there.",
            "I find myself reaching for the old one instead.",
            "It was fine for {span} and then it was not.",
            "Half the price would have been about right.",
            "The size given is generous by a finger's width.",
        ],
        edible: &[
            "Pleasant enough, but I could not tell it from the kind at the corner shop.",
            "Far sweeter than the description lets on.",
            "The first half was good; after {span} the rest had faded.",
            "Half the price would have been about right.",
            "{who} liked it better than I did.",
        ],
    },
    Voice {
        titles: &[
            "Does the job",
            "Fine, with one reservation",
            "Average",
            "Good enough",
            "Neither here nor there",
        ],
        durable: &[
            "It does what it says and no more than that.",
            "Solid, if a little heavier than I expected.",
            "Good for the price, if not great.",
            "The instructions are for a different model.",
            "I would choose the larger one next time.",
            "No complaints after {span}, and no songs of praise either.",
            "Clean it at once, or it will hold a grudge.",
        ],
        edible: &[
            "Decent, and a little shy.",
            "Good on a weekday; on Sundays we open something else.",
            "It wants more salt than the label suggests.",
            "The jar is prettier than it needs to be.",
            "Gone within {span}, without much comment from anyone.",
        ],
    },
    Voice {
        titles: &["Very good", "Nearly perfect", "Would buy again", "Well made", "A pleasure, mostly"],
        durable: &[
            "Everything about it feels considered.",
            "Within {span} it had taken on its own small chores in our kitchen.",
            "{maker} clearly cooks at home.",
            "One star off for the handle, which is a little short.",
            "It cleans up in a minute and looks right on the table.",
            "{who} noticed it at once and asked where it came from.",
            "The weight is just right.",
        ],
        edible: &[
            "Clear, round and not too loud.",
            "One star off for the lid, which needs a strong hand.",
            "{who} asked for the name of it before the plates were cleared.",
            "You can tell that {maker} does not hurry.",
            "It lasted {span}, and only because I hid it.",
            "A little goes a long way.",
        ],
    },
    Voice {
        titles: &[
            "Wonderful",
            "Exactly right",
            "Worth every penny",
            "My search is over",
            "Could not be happier",
            "Five stars, easily",
        ],
        durable: &[
            "I did not know that one could be fond of such a thing.",
            "It has made an ordinary Tuesday supper something to look forward to.",
            "After {span} it is still as good as new.",
            "Every part of it has been thought about by someone at {maker} who cares.",
            "I have already ordered another for {who}.",
            "It does one thing, does it quietly and does it for life.",
            "The finish is even lovelier than in the pictures.",
            "It is the first thing that guests pick up.",
        ],
        edible: &[
            "I ate the first spoonful standing up, with my coat on.",
            "It has made an ordinary Tuesday supper something to look forward to.",
            "I have already ordered more, and some for {who}.",
            "It tastes the way the place smells in late summer.",
            "{maker} should be told to make twice as much.",
            "We have gone through two packs within {span}.",
            "Nothing else in the cupboard comes near it.",
        ],
    },
];
