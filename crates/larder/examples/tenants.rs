//! Tenants in one cache: keys that cannot meet, whatever the ids are, and a clear of one tenant.
//!
//! Runs in process; set `REDIS_URL` to share the cache:
//! `REDIS_URL=redis://127.0.0.1 cargo run -p larder --example tenants`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use larder::{
    Cache, Result,
    cache::{Tenant, TenantKey},
    redis::Redis,
};

async fn settings_of(tenant: &'static str) -> Result<Option<String>> {
    println!("  the database is asked for the settings of {tenant:?}");
    Ok(Some(format!("the settings of {tenant}")))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut builder = Cache::<TenantKey<String>, String>::builder("settings").per_tenant();
    if let Ok(url) = std::env::var("REDIS_URL") {
        builder = builder.redis(&Redis::connect(url).await?);
    }
    let settings = builder.build()?;

    // The second one tries to look like a key of the first.
    for id in ["acme", "acme:theme"] {
        let key = Tenant::new(id)?.key("theme".to_owned());
        println!("{key}: {:?}", settings.get_with(&key, move || settings_of(id)).await?);
    }

    let acme = Tenant::new("acme")?;
    settings.clear_tenant(&acme).await?;
    println!("acme was cleared; the others keep what they have:");
    for id in ["acme", "acme:theme"] {
        let key = Tenant::new(id)?.key("theme".to_owned());
        settings.get_with(&key, move || settings_of(id)).await?;
    }
    assert_eq!(settings.stats().loads, 3);
    println!("its keys in Redis match {}", acme.pattern());
    Ok(())
}
