//! Every way to say that a key has another value.

use larder::{Cache, Result};

use crate::setup::Origin;

/// The key that they change. The values of the cache have the tag `tag`.
pub(crate) const KEY: &str = "tenant:k";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Key,
    Soft,
    Guarded,
    Through,
    Tag,
    Pattern,
    Clear,
}

impl Way {
    pub(crate) const ALL: [Self; 7] =
        [Self::Key, Self::Soft, Self::Guarded, Self::Through, Self::Tag, Self::Pattern, Self::Clear];

    pub(crate) fn takes_all(self) -> bool {
        matches!(self, Self::Tag | Self::Pattern | Self::Clear)
    }

    /// Changes the database and has Redis acknowledge that. Returns how many keys that took, where it is told.
    pub(crate) async fn change(
        self,
        cache: &Cache<String, u64>,
        origin: &Origin,
        number: u64,
    ) -> Result<Option<u64>> {
        let write = async {
            origin.write(number);
            Ok(Some(number))
        };
        if !matches!(self, Self::Guarded | Self::Through) {
            origin.write(number);
        }
        match self {
            Self::Guarded => drop(cache.guarded_write(&[KEY], write).await?.1?),
            Self::Through => drop(cache.put_with(&KEY.to_owned(), write).await?),
            Self::Key => drop(cache.invalidate(KEY).await?),
            Self::Soft => drop(cache.expire(&[KEY]).await?),
            Self::Tag => drop(cache.invalidate_tag("tag").await?),
            Self::Pattern => return cache.invalidate_pattern("tenant:*").await.map(Some),
            Self::Clear => drop(cache.clear().await?),
        }
        Ok(None)
    }
}
