//! Tenants in one cache.

use std::time::Duration;

use larder::{
    Cache, ErrorKind,
    cache::{Tenant, TenantKey},
};

use crate::setup::{Backend, Origin, Setup, lasting};

/// Ids that try to reach into each other's keys, and into patterns.
const IDS: [&str; 18] = [
    "42",
    "4",
    "42:",
    "42:7",
    ":",
    "*",
    "42*",
    "?2",
    "[4]2",
    "\\42",
    "tenant:42",
    "%34%32",
    "%",
    "{42}",
    "42 ",
    "é",
    "42\0",
    "\u{1f}42",
];

async fn node(setup: &Setup) -> Cache<TenantKey<String>, u64> {
    let builder = Cache::builder(&*setup.name).policy(lasting()).clock(setup.clock.clone()).per_tenant();
    match setup.backend.connect().await {
        Some(redis) => builder.redis(&redis).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn key(id: &str, key: &str) -> TenantKey<String> {
    Tenant::new(id).unwrap().key(key.to_owned())
}

/// One value and one "there is none" for each tenant.
async fn fill(cache: &Cache<TenantKey<String>, u64>) {
    for (number, id) in IDS.into_iter().enumerate() {
        let value = cache.get_with(&key(id, "7"), Origin::open(number as u64).loader()).await.unwrap();
        assert_eq!(value.as_deref(), Some(&(number as u64)), "{id:?} was given what another tenant has");
        cache.get_with(&key(id, "none"), || async { Ok(None) }).await.unwrap();
    }
}

async fn cached(cache: &Cache<TenantKey<String>, u64>, id: &str) -> [bool; 2] {
    let value = cache.peek(&key(id, "7")).await.unwrap();
    let none = cache.peek(&key(id, "none")).await.unwrap();
    [value.is_some(), none.is_some()]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tenant_sees_or_clears_what_another_has() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let (a, b) = (node(&setup).await, node(&setup).await);
        fill(&a).await;
        for cleared in ["42", "*", ":"] {
            a.clear_tenant(&Tenant::new(cleared).unwrap()).await.unwrap();
            for id in IDS {
                let expected = if id == cleared { [false; 2] } else { [true; 2] };
                assert_eq!(
                    cached(&a, id).await,
                    expected,
                    "{backend:?}: cleared {cleared:?}, looked at {id:?}"
                );
                if backend != Backend::Memory && id == cleared {
                    larder_testkit::eventually("the other node knows", Duration::from_secs(10), || async {
                        cached(&b, id).await == [false; 2]
                    })
                    .await;
                }
            }
            fill(&a).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_pattern_destroys_its_own_keys_only() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = node(&setup).await;
        fill(&cache).await;
        for purged in ["42", "*", "[4]2"] {
            let pattern = Tenant::new(purged).unwrap().pattern();
            assert_eq!(cache.invalidate_pattern(&pattern).await.unwrap(), 2, "{backend:?}: {purged:?}");
            for id in IDS {
                let expected = if id == purged { [false; 2] } else { [true; 2] };
                assert_eq!(
                    cached(&cache, id).await,
                    expected,
                    "{backend:?}: purged {purged:?}, looked at {id:?}"
                );
            }
            fill(&cache).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_began_before_its_tenant_was_cleared_is_not_kept() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = node(&setup).await;
        let held = Origin::held(1);
        let reader = tokio::spawn({
            let (cache, load) = (cache.clone(), held.loader());
            async move { cache.get_with(&key("42", "7"), load).await }
        });
        held.until_reading(1).await;
        cache.clear_tenant(&Tenant::new("42").unwrap()).await.unwrap();
        held.let_go(1);
        reader.await.unwrap().unwrap();
        let value = cache.get_with(&key("42", "7"), Origin::open(2).loader()).await.unwrap();
        assert_eq!(value.as_deref(), Some(&2), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_belongs_to_its_tenants_too() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let cache = node(&setup).await;
        let keys = [key("42", "a"), key("43", "a")];
        cache.get_many_with(&keys, |_| async { Ok(vec![Some(1), None]) }).await.unwrap();
        cache.clear_tenant(&Tenant::new("43").unwrap()).await.unwrap();
        let left = [cache.peek(&keys[0]).await.unwrap(), cache.peek(&keys[1]).await.unwrap()];
        assert_eq!(left.map(|read| read.is_some()), [true, false], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_does_not_know_its_tenants_says_so() {
    let cache: Cache<TenantKey<u64>, u64> = Cache::builder("plain").build().unwrap();
    let error = cache.clear_tenant(&Tenant::new("42").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("per_tenant"), "{error}");
}
