//! The one place that builds keys.

use std::{fmt, num::NonZeroU16};

use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

/// The longest key a caller may use, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;
/// How many shards a space has unless told otherwise.
pub(crate) const DEFAULT_SHARDS: NonZeroU16 = NonZeroU16::new(16).unwrap();

const MAX_NAME_BYTES: usize = 64;

/// Which of the values that stand for one key a slot holds. All of them live in the key's own shard.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    entry: Box<str>,
    control: Box<str>,
}

impl Kind {
    /// The whole value: `e:<key>`, and its lease `c:<key>`.
    pub(crate) fn whole() -> Self {
        Self { entry: "e:".into(), control: "c:".into() }
    }

    /// A declared part of it: `p:<part>:<key>`, and its lease `pc:<part>:<key>`.
    ///
    /// # Errors
    /// `Invalid` at `partial` for a name that is empty, longer than 64 bytes, or has anything but letters, digits, `_` and
    /// `-`.
    pub(crate) fn part(name: &str) -> Result<Self> {
        check_name("partial", name)?;
        if name.contains(':') {
            return Err(Error::invalid("partial", "has ':': use letters, digits, `_` and `-`"));
        }
        Ok(Self { entry: format!("p:{name}:").into(), control: format!("pc:{name}:").into() })
    }
}

/// The keys of one space (a cache, a board, a queue) of one application.
///
/// A space is cut into shards by `xxh3(key) % shards`. All keys of one shard carry the hash tag `{app.space.07}`, so
/// they live in one slot of a cluster and one script may touch several of them. The number of shards and the layout
/// version are part of what nodes must agree on: change either and every entry is cold.
///
/// Building a key allocates once and does no I/O.
#[derive(Clone)]
pub(crate) struct Space {
    /// `{app.space.07}:v1:`, one per shard.
    prefixes: Box<[Box<str>]>,
}

impl Space {
    /// A space of `shards` shards with layout `version`.
    ///
    /// # Errors
    /// `Invalid` at `app` or `space` if the name is empty, longer than 64 bytes, or has anything but letters, digits,
    /// `_`, `-` and `:`. Braces would change the hash tag; the dot separates the two names.
    pub(crate) fn new(app: &str, space: &str, shards: NonZeroU16, version: u32) -> Result<Self> {
        check_name("app", app)?;
        check_name("space", space)?;
        let prefix = |shard| format!("{{{app}.{space}.{shard:02}}}:v{version}:").into_boxed_str();
        Ok(Self { prefixes: (0..shards.get()).map(prefix).collect() })
    }

    /// The shard that owns `key`, from 0 to `shards() - 1`.
    pub(crate) fn shard_of(&self, key: &[u8]) -> u16 {
        (xxh3_64(key) % self.prefixes.len() as u64) as u16
    }

    /// `{app.space.07}:v1:e:<key>`, where the value of `key` lives.
    ///
    /// # Errors
    /// `Invalid` if the key is empty or longer than [`MAX_KEY_BYTES`].
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Vec<u8>> {
        self.build("e:", key)
    }

    /// `{app.space.07}:v1:c:<key>`, where the lease or tombstone of `key` lives. Same slot as [`entry`](Self::entry).
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub(crate) fn control(&self, key: &[u8]) -> Result<Vec<u8>> {
        self.build("c:", key)
    }

    /// The slot of one of the values that stand for `key` in this shard: its own, or one that has a replica of it.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub(crate) fn slot(&self, shard: u16, kind: &Kind, key: &[u8]) -> Result<Vec<u8>> {
        self.build_in(shard, &kind.entry, key)
    }

    /// Where the lease beside [`slot`](Self::slot) lives.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub(crate) fn slot_control(&self, shard: u16, kind: &Kind, key: &[u8]) -> Result<Vec<u8>> {
        self.build_in(shard, &kind.control, key)
    }

    /// `{app.space.07}:v1:w:<key>` in this shard: that some node waits for what is loaded into a slot of `key`.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub(crate) fn slot_waiters(&self, shard: u16, key: &[u8]) -> Result<Vec<u8>> {
        self.build_in(shard, "w:", key)
    }

    /// `{app.space.07}:v1:<name>`, a key that belongs to the whole shard.
    pub(crate) fn of_shard(&self, shard: u16, name: &str) -> Vec<u8> {
        [self.prefixes[usize::from(shard)].as_bytes(), name.as_bytes()].concat()
    }

    /// How many shards the space has.
    pub(crate) fn shards(&self) -> u16 {
        self.prefixes.len() as u16
    }

    /// The glob for the slots of one kind in all shards whose key's text matches `pattern`.
    pub(crate) fn slots_matching(&self, kind: &Kind, pattern: &str) -> String {
        let any = &self.prefixes[0];
        // `{app.space.` has no character that a glob would take for its own.
        let (front, back) = any.split_once(".00}").unwrap_or((any, ""));
        format!("{front}.*}}{back}{}{pattern}", kind.entry)
    }

    /// The text of the key whose slot this is; `None` for a slot of another kind or space.
    pub(crate) fn text_of_slot(&self, kind: &Kind, key: &[u8]) -> Option<String> {
        let key = std::str::from_utf8(key).ok()?;
        let text = self
            .prefixes
            .iter()
            .find_map(|prefix| key.strip_prefix(&**prefix)?.strip_prefix(&*kind.entry))?;
        Some(text.to_owned())
    }

    fn build(&self, kind: &str, key: &[u8]) -> Result<Vec<u8>> {
        self.build_in(self.shard_of(key), kind, key)
    }

    fn build_in(&self, shard: u16, kind: &str, key: &[u8]) -> Result<Vec<u8>> {
        check_key(key)?;
        let prefix = self.prefixes[usize::from(shard)].as_bytes();
        Ok([prefix, kind.as_bytes(), key].concat())
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({} × {})", self.prefixes[0], self.prefixes.len())
    }
}

/// Refuses a key that has no slot.
///
/// # Errors
/// `Invalid` at `key` if the key is empty or longer than [`MAX_KEY_BYTES`].
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    let problem = match key.len() {
        0 => "is empty".to_owned(),
        1..=MAX_KEY_BYTES => return Ok(()),
        bytes => format!("has {bytes} bytes, the limit is {MAX_KEY_BYTES}: use a digest of it as the key"),
    };
    Err(Error::invalid("key", problem))
}

fn check_name(field: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("has {} bytes, the limit is {MAX_NAME_BYTES}", name.len())
    } else if let Some(bad) = name.chars().find(|&c| !allowed(c)) {
        format!("has {bad:?}: use letters, digits, `_`, `-` and `:`")
    } else {
        return Ok(());
    };
    Err(Error::invalid(field, problem))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redis::slot::slot_of;

    fn users() -> Space {
        Space::new("larder", "users", DEFAULT_SHARDS, 1).unwrap()
    }

    #[test]
    fn the_layout_of_keys_does_not_change() {
        let space = users();
        let shard = space.shard_of(b"42");
        assert_eq!(space.entry(b"42").unwrap(), format!("{{larder.users.{shard:02}}}:v1:e:42").into_bytes());
    }

    #[test]
    fn names_that_would_break_the_tag_are_refused() {
        for bad in ["", "a{b", "a}b", "a.b", "a b", "a\nb", "a\0b", "é", &"x".repeat(65)] {
            let error = Space::new("app", bad, DEFAULT_SHARDS, 1).unwrap_err();
            assert_eq!(error.field(), Some("space"), "{bad:?}");
        }
    }

    #[test]
    fn a_key_too_long_is_refused_with_the_fix() {
        let error = users().entry(&[b'x'; MAX_KEY_BYTES + 1]).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        assert!(error.message().contains("digest"), "{error}");
        assert!(users().entry(&[b'x'; MAX_KEY_BYTES]).is_ok());
        assert!(users().entry(b"").is_err());
    }

    #[test]
    fn a_part_lives_in_the_shard_of_its_key_and_its_name_cannot_reach_into_it() {
        let (space, card) = (users(), Kind::part("card").unwrap());
        let slot = space.slot(space.shard_of(b"42"), &card, b"42").unwrap();
        assert_eq!(slot_of(&slot), slot_of(&space.entry(b"42").unwrap()));
        assert_eq!(space.text_of_slot(&card, &slot).as_deref(), Some("42"));
        assert_eq!(space.text_of_slot(&Kind::whole(), &slot), None);
        for bad in ["", "a:b", "a.b", "a b"] {
            assert_eq!(Kind::part(bad).unwrap_err().field(), Some("partial"), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn all_keys_of_one_key_share_a_slot(key in proptest::collection::vec(any::<u8>(), 1..200)) {
            let space = users();
            let shard = space.shard_of(&key);
            prop_assert!(shard < DEFAULT_SHARDS.get());
            let slot = slot_of(&space.entry(&key).unwrap());
            prop_assert_eq!(slot, slot_of(&space.control(&key).unwrap()));
            prop_assert_eq!(slot, slot_of(format!("{{larder.users.{shard:02}}}:").as_bytes()));
        }

        #[test]
        fn different_keys_stay_different(a in proptest::collection::vec(any::<u8>(), 1..40), b in proptest::collection::vec(any::<u8>(), 1..40)) {
            let space = users();
            prop_assert_eq!(a == b, space.entry(&a).unwrap() == space.entry(&b).unwrap());
            let (card, list) = (Kind::part("card").unwrap(), Kind::part("list").unwrap());
            let slots = |key: &[u8]| {
                let shard = space.shard_of(key);
                let of = |kind: &Kind| [space.slot(shard, kind, key).unwrap(), space.slot_control(shard, kind, key).unwrap()];
                [of(&Kind::whole()), of(&card), of(&list)].concat()
            };
            for (i, slot) in slots(&a).iter().enumerate() {
                for (j, other) in slots(&b).iter().enumerate() {
                    prop_assert_eq!(slot == other, a == b && i == j);
                }
            }
        }
    }
}
