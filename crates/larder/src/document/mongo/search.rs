//! Searches for words: what decides are expressions that look at every document, and where a text index holds all words as
//! they are, it leads to the few that can match.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bson::{Document, doc};
use mongodb::{IndexModel, error::ErrorKind as Driver, options::TextIndexVersion};

use super::{MongoCollection, filter::to_query};
use crate::{
    Result,
    document::{Filter, probe::NO_LANGUAGE, term::is_plain},
};

/// How long what was seen of the collection's text index is taken for true. A search that needs one that is gone is asked
/// again without it.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The code of a refusal for want of a text index.
const INDEX_NOT_FOUND: i32 = 27;

/// What the collection's text index was last seen to hold, and when.
#[derive(Debug, Default)]
pub(super) struct Seen(tokio::sync::Mutex<Option<(Instant, Words)>>);

/// The fields whose words a text index holds, all of them and as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Words {
    /// There is none, or it leaves something out.
    #[default]
    Unknown,
    Of(BTreeSet<String>),
    OfAll,
}

impl Words {
    /// Of the indexes that hold every document; there is at most one text index among them.
    pub(super) fn of(models: &[IndexModel]) -> Self {
        models.iter().map(Self::of_one).find(|words| *words != Self::Unknown).unwrap_or_default()
    }

    /// Fit is an index that begins with words, cuts none to its stem and drops none, whatever a document says its language is.
    pub(super) fn of_one(model: &IndexModel) -> Self {
        let begins = model.keys.keys().next().is_some_and(|first| first == "_fts");
        let Some(options) = model.options.as_ref().filter(|_| begins) else { return Self::Unknown };
        let takes_all = options.default_language.as_deref() == Some("none")
            && options.language_override.as_deref() == Some(NO_LANGUAGE)
            // Older versions take a capital for another letter, but in ASCII.
            && matches!(options.text_index_version, Some(TextIndexVersion::V3));
        match options.weights.as_ref().filter(|_| takes_all) {
            None => Self::Unknown,
            Some(weights) if weights.contains_key("$**") => Self::OfAll,
            Some(weights) => Self::Of(weights.keys().cloned().collect()),
        }
    }

    pub(super) fn hold(&self, path: &str) -> bool {
        // An index reads a number as the name of a field, a query as a place in an array as well.
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            _ if path.split('.').any(is_number) => false,
            Self::Unknown => false,
            Self::Of(paths) => paths.contains(path),
            Self::OfAll => true,
        }
    }
}

impl MongoCollection {
    /// Asks with the query of `filter`, narrowed by the text index where that helps.
    pub(super) async fn search<T, Asked>(&self, filter: &Filter, ask: impl Fn(Document) -> Asked) -> Result<T>
    where
        Asked: Future<Output = mongodb::error::Result<T>>,
    {
        let lead = match filter.demanded_terms() {
            demanded if demanded.is_empty() || filter.names_ids() => None,
            demanded => lead(&demanded, &self.searched_words().await),
        };
        self.call(async {
            let Some(lead) = lead else { return ask(to_query(filter)).await };
            match ask(doc! { "$and": [lead, to_query(filter)] }).await {
                Err(error) if wants_index(&error) => {
                    self.forget_words().await;
                    ask(to_query(filter)).await
                }
                answer => answer,
            }
        })
        .await
    }

    pub(super) async fn forget_words(&self) {
        *self.seen_words().0.lock().await = None;
    }

    /// What its text index holds. Nothing, if it could not be asked: then nothing is narrowed.
    async fn searched_words(&self) -> Words {
        let mut seen = self.seen_words().0.lock().await;
        match &*seen {
            Some((at, words)) if at.elapsed() < LOOK_EVERY => words.clone(),
            _ => {
                let words =
                    self.complete_indexes().await.map(|models| Words::of(&models)).unwrap_or_default();
                *seen = Some((Instant::now(), words.clone()));
                words
            }
        }
    }
}

/// The longest of the words that the index holds, as a search of it: MongoDB looks up every word that it is given and
/// joins what it finds, and the longest word is most likely in few documents.
fn lead(demanded: &BTreeMap<&str, BTreeSet<String>>, words: &Words) -> Option<Document> {
    let held = demanded.iter().filter(|(path, _)| words.hold(path)).flat_map(|(_, terms)| terms);
    let longest = held.filter(|term| is_plain(term)).max_by_key(|term| term.chars().count())?;
    Some(doc! { "$text": { "$search": format!("\"{longest}\""), "$language": "none" } })
}

fn wants_index(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), Driver::Command(error) if error.code == INDEX_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use mongodb::options::IndexOptions;

    use super::*;

    fn model(keys: Document, language: &str, language_override: &str, weights: Document) -> IndexModel {
        let options = IndexOptions::builder()
            .default_language(language.to_owned())
            .language_override(language_override.to_owned())
            .weights(weights)
            .text_index_version(TextIndexVersion::V3)
            .build();
        IndexModel::builder().keys(keys).options(options).build()
    }

    #[test]
    fn an_index_that_leaves_words_out_leads_nowhere() {
        let text = || doc! { "_fts": "text", "_ftsx": 1 };
        let fit = model(text(), "none", NO_LANGUAGE, doc! { "name": 1, "note": 2 });
        let words = Words::of(&[IndexModel::builder().keys(doc! { "name": 1 }).build(), fit]);
        assert!(words.hold("name") && words.hold("note") && !words.hold("other"));
        let all = Words::of_one(&model(text(), "none", NO_LANGUAGE, doc! { "$**": 1 }));
        assert!(all.hold("any.thing") && !all.hold("list.0.name"));
        for unfit in [
            model(text(), "english", NO_LANGUAGE, doc! { "name": 1 }),
            model(text(), "none", "language", doc! { "name": 1 }),
            model(doc! { "a": 1, "_fts": "text", "_ftsx": 1 }, "none", NO_LANGUAGE, doc! { "name": 1 }),
            model(doc! { "name": "hashed" }, "none", NO_LANGUAGE, doc! { "name": 1 }),
        ] {
            assert_eq!(Words::of(&[unfit]), Words::Unknown);
        }
    }

    #[test]
    fn the_longest_word_that_the_index_holds_leads() {
        let search = |path: &str, text: &str| Filter::Text { path: path.into(), text: text.into() };
        let words = Words::Of(["name".to_owned()].into());
        let led = |filter: &Filter| {
            let lead = lead(&filter.demanded_terms(), &words)?;
            Some(lead.get_document("$text").ok()?.get_str("$search").ok()?.to_owned())
        };
        let both = search("name", "red Woollen").and(search("note", "extraordinary"));
        assert_eq!(led(&both).as_deref(), Some("\"woollen\""));
        assert_eq!(led(&search("note", "red")), None);
        assert_eq!(led(&Filter::Or(vec![search("name", "red")])), None, "an alternative demands nothing");
        assert_eq!(led(&search("name", "a\u{1}b c")).as_deref(), Some("\"c\""));
    }
}
