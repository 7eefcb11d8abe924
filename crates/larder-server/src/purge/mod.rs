//! What a purge does to a collection, whoever orders it: a request or a command.

mod running;

use larder::{
    Result,
    cache::{MAX_PATTERN_BYTES, Token},
    document::{Collection, Id, MAX_IDS},
};

pub(crate) use self::running::Running;

/// The most bytes that a tag may have.
const MAX_TAG_BYTES: usize = 256;
/// What every id matches.
const EVERYTHING: &str = "*";

/// What is wrong with a tag that is to be purged, if anything is.
pub(crate) fn tag_fault(tag: &str) -> Option<String> {
    let is_right = (1..=MAX_TAG_BYTES).contains(&tag.len());
    (!is_right).then(|| format!("must be text of 1 to {MAX_TAG_BYTES} bytes"))
}

/// What is wrong with the pattern of a purge, if anything is.
pub(crate) fn pattern_fault(pattern: &str) -> Option<String> {
    let is_right = (1..=MAX_PATTERN_BYTES).contains(&pattern.len());
    (!is_right).then(|| format!("must have 1 to {MAX_PATTERN_BYTES} bytes"))
}

/// What is to be forgotten.
#[derive(Debug)]
pub(crate) struct Purge {
    pub ids: Vec<Id>,
    pub tags: Vec<String>,
    pub pattern: Option<String>,
    pub all: bool,
    /// What is cached becomes stale instead of going.
    pub soft: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Purged {
    /// How many documents the pattern matched, if there was one.
    pub matched: Option<u64>,
    /// What a read has to know of to see nothing older.
    pub tokens: Vec<Token>,
}

impl Purge {
    /// Whether it has to look through all keys that are cached, and so takes the longer the more there are.
    pub(crate) fn is_search(&self) -> bool {
        self.pattern.is_some() || self.soft && (self.all || !self.tags.is_empty())
    }

    /// Whether a cache that cannot tell Redis keeps this, and sends it again by itself. It does so with what it sends as one; of
    /// several things nobody says how far it came.
    pub(crate) fn is_kept(&self) -> bool {
        let things = usize::from(!self.ids.is_empty()) + self.tags.len() + usize::from(self.all);
        things == 1 && !self.is_search()
    }

    /// Purges, in the order of the fields.
    ///
    /// # Errors
    /// As the collection's; what comes after it is not done then. `ErrorKind::Invalid` at `policy` for a soft purge of a
    /// collection that keeps nothing past its time.
    pub(crate) async fn carry_out(&self, collection: &Collection) -> Result<Purged> {
        let mut purged =
            if self.soft { self.soften(collection).await } else { self.destroy(collection).await }?;
        // Whatever was purged, the lists were forgotten with it.
        purged.tokens.extend(collection.lists_token());
        Ok(purged)
    }

    async fn soften(&self, collection: &Collection) -> Result<Purged> {
        let mut tokens = Vec::new();
        for ids in self.ids.chunks(MAX_IDS) {
            tokens.extend(collection.expire(&ids.iter().collect::<Vec<_>>()).await?);
        }
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        collection.expire_tags(&tags).await?;
        let matched = match &self.pattern {
            Some(pattern) => Some(collection.expire_pattern(pattern).await?),
            None => None,
        };
        if self.all {
            collection.expire_pattern(EVERYTHING).await?;
        }
        Ok(Purged { matched, tokens })
    }

    async fn destroy(&self, collection: &Collection) -> Result<Purged> {
        let mut tokens = Vec::new();
        for ids in self.ids.chunks(MAX_IDS) {
            tokens.extend(collection.invalidate_many(&ids.iter().collect::<Vec<_>>()).await?);
        }
        for tag in &self.tags {
            tokens.extend(collection.invalidate_tag(tag).await?);
        }
        let matched = match &self.pattern {
            Some(pattern) => Some(collection.invalidate_pattern(pattern).await?),
            None => None,
        };
        if self.all {
            tokens.extend(collection.clear().await?);
        }
        Ok(Purged { matched, tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_to_redis_as_one_is_kept_and_what_is_found_step_by_step_is_not() {
        let purge = |ids: usize, tags: usize, pattern: bool, all: bool, soft: bool| Purge {
            ids: (0..ids as i64).map(Id::from).collect(),
            tags: vec!["tag".to_owned(); tags],
            pattern: pattern.then(|| "*".to_owned()),
            all,
            soft,
        };
        for kept in [
            purge(3, 0, false, false, false),
            purge(3, 0, false, false, true),
            purge(0, 1, false, false, false),
            purge(0, 0, false, true, false),
        ] {
            assert!(kept.is_kept(), "{kept:?}");
        }
        for forgotten in [
            purge(0, 0, true, false, false),
            purge(0, 1, false, false, true),
            purge(0, 0, false, true, true),
            purge(1, 1, false, false, false),
            purge(0, 2, false, false, false),
            purge(1, 0, true, false, false),
        ] {
            assert!(!forgotten.is_kept(), "{forgotten:?}");
        }
    }
}
