//! The terms of a text: where they begin and end, and which letters are one. It is spelled out here, letter by letter, because every
//! database is held to it: what SQLite indexes, what MongoDB's regular expressions say, and what decides in the end.
//!
//! A term is what stands between separators: white space and punctuation as Unicode's `White_Space` and `Pattern_Syntax` have
//! them, and the ends of sentences of scripts that have their own. MongoDB's text index cuts there too, so a term is never
//! part of what that takes for one. A zero byte ends a text, as it does there. Letters that differ in case alone are one letter;
//! accents count.
//!
//! Nothing here may follow a newer version of Unicode: indexes hold what it said when they were made.

use std::{collections::BTreeSet, ops::RangeInclusive};

/// What separates and what is one letter; part of the name of every index of terms.
#[cfg(feature = "sqlite")]
pub(crate) const TERM_VERSION: u8 = 1;

/// In their order.
pub(crate) const SEPARATORS: &[RangeInclusive<char>] = &[
    '\t'..='\r',
    ' '..='/',
    ':'..='@',
    '['..='^',
    '`'..='`',
    '{'..='~',
    '\u{85}'..='\u{85}',
    '\u{A0}'..='\u{A7}',
    '\u{A9}'..='\u{A9}',
    '\u{AB}'..='\u{AC}',
    '\u{AE}'..='\u{AE}',
    '\u{B0}'..='\u{B1}',
    '\u{B6}'..='\u{B6}',
    '\u{BB}'..='\u{BB}',
    '\u{BF}'..='\u{BF}',
    '\u{D7}'..='\u{D7}',
    '\u{F7}'..='\u{F7}',
    '\u{589}'..='\u{589}',
    '\u{60C}'..='\u{60C}',
    '\u{61B}'..='\u{61B}',
    '\u{61F}'..='\u{61F}',
    '\u{6D4}'..='\u{6D4}',
    '\u{964}'..='\u{965}',
    '\u{1680}'..='\u{1680}',
    '\u{2000}'..='\u{200A}',
    '\u{2010}'..='\u{2029}',
    '\u{202F}'..='\u{203E}',
    '\u{2041}'..='\u{2053}',
    '\u{2055}'..='\u{205F}',
    '\u{2190}'..='\u{245F}',
    '\u{2500}'..='\u{2775}',
    '\u{2794}'..='\u{2BFF}',
    '\u{2E00}'..='\u{2E7F}',
    '\u{3000}'..='\u{3003}',
    '\u{3008}'..='\u{3020}',
    '\u{3030}'..='\u{3030}',
    '\u{FF01}'..='\u{FF01}',
    '\u{FF0C}'..='\u{FF0C}',
    '\u{FF0E}'..='\u{FF0E}',
    '\u{FF1A}'..='\u{FF1B}',
    '\u{FF1F}'..='\u{FF1F}',
    '\u{FF61}'..='\u{FF61}',
    '\u{FF64}'..='\u{FF64}',
];

/// Where the letters are that have two cases: Latin, Greek, Cyrillic and Armenian, and their like at full width. All that
/// stands there had its place and its case in Unicode 8, the one that MongoDB goes by.
const CASED: &[RangeInclusive<char>] = &[
    'A'..='Z',
    'a'..='z',
    '\u{B5}'..='\u{B5}',
    '\u{C0}'..='\u{24F}',
    '\u{370}'..='\u{52F}',
    '\u{531}'..='\u{587}',
    '\u{1E00}'..='\u{1FFF}',
    '\u{2126}'..='\u{2126}',
    '\u{212A}'..='\u{212B}',
    '\u{FF21}'..='\u{FF3A}',
    '\u{FF41}'..='\u{FF5A}',
];

/// Letters without case that stand for themselves in every index: kana, ideographs, Hangul.
#[cfg(feature = "mongo")]
const UNCASED: &[RangeInclusive<char>] =
    &['\u{3041}'..='\u{3096}', '\u{30A1}'..='\u{30FA}', '\u{4E00}'..='\u{9FCC}', '\u{AC00}'..='\u{D7A3}'];

fn is_in(ranges: &[RangeInclusive<char>], letter: char) -> bool {
    let at = ranges.partition_point(|range| *range.end() < letter);
    ranges.get(at).is_some_and(|range| range.contains(&letter))
}

fn is_separator(letter: char) -> bool {
    is_in(SEPARATORS, letter)
}

/// The terms of a text, as they stand in it.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find('\0').unwrap_or(text.len());
    text[..end].split(is_separator).filter(|term| !term.is_empty())
}

/// The terms of a text, folded, each once.
pub(crate) fn terms(text: &str) -> BTreeSet<String> {
    split(text).map(|term| term.chars().map(fold).collect()).collect()
}

/// Whether a folded term is one of a text's.
pub(crate) fn has_term(text: &str, folded: &str) -> bool {
    split(text).any(|term| term.chars().map(fold).eq(folded.chars()))
}

/// The letter that stands for all that differ from it in case alone.
pub(crate) fn fold(letter: char) -> char {
    // By way of the capital, which the two small sigmas share. The dotless i is a letter of its own, though it has a capital
    // in common with another.
    match letter {
        letter if letter.is_ascii() => letter.to_ascii_lowercase(),
        letter if letter == 'ı' || !is_in(CASED, letter) => letter,
        letter => {
            let capital = other_case(letter.to_uppercase()).unwrap_or(letter);
            other_case(capital.to_lowercase()).unwrap_or(capital)
        }
    }
}

/// A letter's other case, where that is one letter, and one of those that have cases here.
fn other_case(mut letters: impl ExactSizeIterator<Item = char>) -> Option<char> {
    let letter = if letters.len() == 1 { letters.next() } else { None };
    letter.filter(|letter| is_in(CASED, *letter))
}

/// Whether any index of words has this term for what it is here: it holds a letter or a digit, and not only what an index
/// may cut it at, or leave out as a mark.
#[cfg(feature = "mongo")]
pub(crate) fn is_plain(term: &str) -> bool {
    let is_sure = |letter: char| {
        letter.is_ascii_digit() || (is_in(CASED, letter) && letter.is_alphabetic()) || is_in(UNCASED, letter)
    };
    term.chars().any(is_sure) && !term.contains(char::is_control)
}

/// All letters that fold to this one, if there are others than itself.
#[cfg(feature = "mongo")]
pub(crate) fn spellings(folded: char) -> &'static [char] {
    use std::{collections::HashMap, sync::LazyLock};

    static SPELLINGS: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
        let mut spellings: HashMap<char, Vec<char>> = HashMap::new();
        for letter in CASED.iter().cloned().flatten() {
            let folded = fold(letter);
            if folded != letter {
                spellings.entry(folded).or_insert_with(|| vec![folded]).push(letter);
            }
        }
        spellings
    });
    SPELLINGS.get(&folded).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_are_in_their_order() {
        for pair in [SEPARATORS, CASED, UNCASED].into_iter().flat_map(|ranges| ranges.windows(2)) {
            assert!(pair[0].end() < pair[1].start(), "{pair:?}");
        }
    }

    #[test]
    fn what_an_index_may_drop_is_not_plain() {
        for (term, plain) in [
            ("a", true),
            ("7", true),
            ("été", true),
            ("東京", true),
            ("ー", false),
            ("´", false),
            ("・・", false),
        ] {
            assert_eq!(is_plain(term), plain, "{term}");
        }
        assert!(!is_plain("a\u{1}b"));
    }

    #[test]
    fn terms_are_what_stands_between_separators() {
        for (text, expected) in [
            ("", &[][..]),
            (" -- ", &[]),
            ("Red shoes, red SHOES!", &["red", "shoes"]),
            ("it's half-price (50%)", &["50", "half", "it", "price", "s"]),
            ("snake_case x\u{1}y", &["snake_case", "x\u{1}y"]),
            ("seen\0 and not seen", &["seen"]),
            ("①one 中①", &["①one", "中①"]),
            ("Café «Zürich»… 日本。東京", &["café", "zürich", "日本", "東京"]),
            ("ΛΌΓΟΣ λόγος", &["λόγοσ"]),
        ] {
            assert_eq!(terms(text).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn a_term_is_whole_and_in_any_case() {
        for term in ["wool", "ÉTÉ", "K9"] {
            let folded: String = term.chars().map(fold).collect();
            assert!(has_term("Wool, été; k9", &folded), "{term}");
            assert!(!has_term("woollen étés k99", &folded), "{term}");
        }
        assert!(!has_term("ete", "été"), "accents count");
    }

    #[test]
    fn folding_once_is_enough_and_never_makes_or_unmakes_a_separator() {
        for letter in '\0'..=char::MAX {
            let folded = fold(letter);
            assert_eq!(fold(folded), folded, "{letter:?}");
            assert_eq!(is_separator(folded), is_separator(letter), "{letter:?}");
            if folded != letter {
                assert!(spellings(folded).contains(&letter) && spellings(folded).contains(&folded));
            }
        }
    }
}
