//! Following what other programs write to the database.

use larder::{
    Result,
    document::{Watch, WatchStats},
};

use crate::{config::Config, resource::Resource};

/// Starts to watch what can be watched; `None` if nothing is to be.
///
/// The embedded database belongs to this process, so of its collections only those are watched that say how.
///
/// # Errors
/// Settings that the library refuses.
pub(crate) fn start<'a>(
    config: &Config,
    resources: impl Iterator<Item = &'a Resource>,
) -> Result<Option<Watch>> {
    let has_feed = config.mongo.url.is_some();
    let polled = |resource: &Resource| {
        let declared = config.collections.iter().find(|declared| declared.name == resource.name)?;
        declared.poll_updated_at.clone()
    };
    let watched: Vec<_> = resources.filter(|resource| has_feed || polled(resource).is_some()).collect();
    if !config.watch.enabled || watched.is_empty() {
        return Ok(None);
    }
    let mut builder = Watch::builder(watched.iter().map(|resource| &resource.collection))
        .lease(config.watch.lease)
        .poll_interval(config.watch.poll_interval);
    for resource in watched {
        if let Some(field) = polled(resource) {
            builder = builder.updated_at(resource.schema().name(), field);
        }
    }
    builder.start().map(Some)
}

/// What a watch says of one collection.
pub(crate) fn stats_of(watch: Option<&Watch>, resource: &Resource) -> Option<WatchStats> {
    watch?.stats().into_iter().find(|stats| stats.collection == resource.schema().name())
}
