//! What a version and a tenant in the key cost a near hit.

use std::{error::Error, fmt, hash::Hash};

use larder::{
    Cache,
    cache::{Tenant, TenantKey},
};

use super::Lab;
use crate::{
    hit::{nanoseconds, now},
    rounds::Rounds,
};

const KEYS: usize = 1_000;
const TURNS: usize = 100;

/// Plain keys, keys of a later version, and keys of tenants, each read in turn.
///
/// # Errors
/// When a tenant's id is refused.
pub async fn run(lab: &Lab, measured: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let reads = if lab.full { 3_000_000 } else { 300_000 };
    let names: Vec<String> = (0..KEYS).map(|key| format!("product:{key:08}")).collect();
    let tenants = (0..10).map(|id| Tenant::new(id.to_string())).collect::<larder::Result<Vec<_>>>()?;
    let tenant_keys: Vec<TenantKey<String>> =
        names.iter().enumerate().map(|(at, name)| tenants[at % 10].key(name.clone())).collect();
    let plain = warm(Cache::builder("plain").build()?, &names).await?;
    let versioned = warm(Cache::builder("versioned").version(3).build()?, &names).await?;
    let of_tenants = warm(Cache::builder("tenants").per_tenant().build()?, &tenant_keys).await?;
    // Many short turns: the speed of a machine that others use too changes from one second to the next.
    for _ in 0..TURNS {
        let plain_ns = hits(&plain, &names, reads / TURNS);
        let versioned_ns = hits(&versioned, &names, reads / TURNS);
        let tenants_ns = hits(&of_tenants, &tenant_keys, reads / TURNS);
        measured.note("near hit: plain keys", plain_ns, "ns");
        measured.note("near hit: keys of version 3", versioned_ns, "ns");
        measured.note("near hit: keys of tenants", tenants_ns, "ns");
        measured.note("version 3 ÷ plain", versioned_ns / plain_ns, "times");
        measured.note("tenants ÷ plain", tenants_ns / plain_ns, "times");
    }
    Ok(())
}

async fn warm<K>(cache: Cache<K, Vec<u8>>, keys: &[K]) -> larder::Result<Cache<K, Vec<u8>>>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
{
    for key in keys {
        cache.get_with(key, async || Ok(Some(vec![7; 1_024]))).await?;
    }
    Ok(cache)
}

fn hits<K>(cache: &Cache<K, Vec<u8>>, keys: &[K], reads: usize) -> f64
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
{
    nanoseconds(1, reads, KEYS, &|at| {
        matches!(now(cache.get_with(&keys[at], async || Ok(None))), Ok(Some(_)))
    })
}
