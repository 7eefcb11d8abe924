//! Tenants in one cache: keys of two tenants cannot meet, whatever their ids are, and one tenant can be cleared.

use std::{fmt, fmt::Write as _, hash::Hash, str::FromStr, sync::Arc};

use crate::{
    Error, ErrorKind, Result,
    cache::{Cache, CacheBuilder, Token, tag::tag_hash},
};

/// The most bytes of a tenant's id.
pub const MAX_TENANT_BYTES: usize = 128;

const PREFIX: &str = "tenant:";

/// One tenant of a cache whose keys are [`TenantKey`]s. Cheap to clone.
///
/// ```
/// # async fn run() -> larder::Result<()> {
/// use larder::cache::{Cache, Tenant, TenantKey};
///
/// // A key without a tenant does not compile.
/// let users: Cache<TenantKey<u64>, String> = Cache::builder("users").per_tenant().build()?;
/// let (acme, rival) = (Tenant::new("acme")?, Tenant::new("acme:7")?);
/// users.get_with(&acme.key(7), || async { Ok(Some("Ada".to_owned())) }).await?;
/// users.get_with(&rival.key(7), || async { Ok(Some("Eve".to_owned())) }).await?;
/// users.clear_tenant(&acme).await?;
/// assert!(users.peek(&acme.key(7)).await?.is_none());
/// assert!(users.peek(&rival.key(7)).await?.is_some());
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// Has neither a colon nor anything that a glob would take for its own.
    escaped: Arc<str>,
    tag: u64,
}

impl Tenant {
    /// The tenant with this id, whatever it is made of: what could be mistaken for something else is escaped.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` naming `tenant` for an id that is empty or longer than [`MAX_TENANT_BYTES`].
    pub fn new(id: impl AsRef<str>) -> Result<Self> {
        let id = id.as_ref();
        if id.is_empty() || id.len() > MAX_TENANT_BYTES {
            return Err(Error::invalid("tenant", format!("must have 1 to {MAX_TENANT_BYTES} bytes")));
        }
        Ok(Self::of_escaped(escape(id)))
    }

    fn of_escaped(escaped: String) -> Self {
        // A tag that no caller can name.
        let tag = tag_hash(&format!("\0{PREFIX}{escaped}"));
        Self { escaped: escaped.into(), tag }
    }

    /// A key of this tenant.
    pub fn key<K>(&self, key: K) -> TenantKey<K> {
        TenantKey { tenant: self.clone(), key }
    }

    /// The glob that matches the text of every key of this tenant and of no other, for
    /// [`Cache::invalidate_pattern`]: `tenant:42:*`.
    pub fn pattern(&self) -> String {
        format!("{PREFIX}{}:*", self.escaped)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.escaped)
    }
}

/// A key of one tenant. Its text is `tenant:<id>:<key>`, with the id escaped as in a URL: two of them are equal only if both
/// the tenant and the key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantKey<K> {
    tenant: Tenant,
    key: K,
}

impl<K> TenantKey<K> {
    /// Whose key it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The key inside the tenant.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K: fmt::Display> fmt::Display for TenantKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.tenant.escaped, self.key)
    }
}

/// Reads the text back, as write-behind needs it.
impl<K: FromStr> FromStr for TenantKey<K> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("key", "is not the text of a tenant's key");
        let (escaped, key) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
        // Only what `escape` writes, so that one tenant has one text.
        let id = unescape(escaped).filter(|id| escape(id) == escaped).ok_or_else(wrong)?;
        Ok(Tenant::new(id)?.key(key.parse().map_err(|_| wrong())?))
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@')
}

fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(escaped.len()), escaped.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

impl<K, V> CacheBuilder<TenantKey<K>, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Gives every entry, also one that says that there is nothing, a tag of its tenant, so that
    /// [`Cache::clear_tenant`] can make it worthless. Costs a comparison for each near hit. A node follows up to 10,000
    /// tags of a shard at once; with more tenants than that in use it forgets the shard's near copies now and then.
    pub fn per_tenant(self) -> Self {
        self.tag_from_key(|key| key.tenant.tag)
    }
}

impl<K, V> Cache<TenantKey<K>, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Makes everything of one tenant worthless, on all nodes, and every load under way for it. Costs one round trip for each
    /// shard, at the same time, however many entries there are. What is worthless stays in Redis until it expires; to have
    /// it gone, purge [`Tenant::pattern`].
    ///
    /// # Errors
    /// As [`Cache::invalidate`]; `ErrorKind::Config` if the cache was built without
    /// [`per_tenant`](CacheBuilder::per_tenant).
    pub async fn clear_tenant(&self, tenant: &Tenant) -> Result<Vec<Token>> {
        if self.inner.tag_from_key.is_none() {
            let message = "its entries do not know their tenants: build it with per_tenant()";
            return Err(Error::new(ErrorKind::Config, message).context(&self.inner.name));
        }
        self.inner.invalidate_tag(tenant.tag).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(id: &str) -> Tenant {
        Tenant::new(id).unwrap()
    }

    proptest! {
        #[test]
        fn two_keys_have_one_text_only_if_tenant_and_key_are_the_same(
            ids in prop::array::uniform2("[ab:%*\\[\\]?\\\\{}é\0]{1,5}"), keys in prop::array::uniform2("[ab:%*]{0,5}"),
        ) {
            let [first, second] = [0, 1].map(|i| tenant(&ids[i]).key(keys[i].clone()));
            prop_assert_eq!(first == second, first.to_string() == second.to_string());
            prop_assert_eq!(ids[0] == ids[1], first.tenant() == second.tenant());
            prop_assert_eq!(ids[0] == ids[1], first.tenant().tag == second.tenant().tag);
        }

        #[test]
        fn a_tenants_pattern_matches_its_own_keys_only(
            ids in prop::array::uniform2("\\PC{1,6}"), key in "\\PC{0,6}",
        ) {
            let pattern = tenant(&ids[0]).pattern();
            let literal = pattern.strip_suffix('*').unwrap();
            prop_assert!(!literal.contains(['*', '?', '[', ']', '\\', '^']), "{}", literal);
            let text = tenant(&ids[1]).key(key).to_string();
            prop_assert_eq!(ids[0] == ids[1], text.starts_with(literal));
        }

        #[test]
        fn the_text_of_a_key_reads_back(id in "\\PC{1,20}", key in "\\PC{0,20}") {
            let key = tenant(&id).key(key);
            prop_assert_eq!(key.to_string().parse::<TenantKey<String>>().unwrap(), key);
        }

        #[test]
        fn other_text_is_refused_or_is_the_text_of_what_it_reads_as(text in "(tenant:)?[a%0-9A-F:é]{0,12}") {
            if let Ok(key) = text.parse::<TenantKey<String>>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn an_id_that_is_empty_or_too_long_is_refused() {
        for bad in ["", &"x".repeat(MAX_TENANT_BYTES + 1)] {
            let error = Tenant::new(bad).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("tenant")));
        }
        assert_eq!(tenant("42").key(7).to_string(), "tenant:42:7");
        assert_eq!(tenant("4:2*").pattern(), "tenant:4%3A2%2A:*");
    }
}
