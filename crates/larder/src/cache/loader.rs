//! What a read loads with: the caller's own loader, or the cache's source.

use std::{
    fmt,
    future::{Future, ready},
    hash::Hash,
    pin::Pin,
    sync::Arc,
};

use crate::{
    Result,
    cache::{confirm::Loaded, inner::Inner, route::Route},
};

pub(crate) type LoadFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

type Given<V> = dyn FnOnce(Option<Arc<V>>) -> LoadFuture<Loaded<V>> + Send;

/// A loader that is ready to be called once.
pub(crate) enum Loader<V> {
    /// The caller's, for the previous value if there is one that it may confirm.
    Given(Box<Given<V>>),
    /// The cache's source. Nothing is made for it before it is needed: most reads are hits.
    Source,
}

impl<V> Loader<V> {
    /// One that needs no previous value.
    pub(crate) fn unconditional<F, Fut>(load: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>>> + Send + 'static,
    {
        Self::Given(Box::new(move |_| {
            let loading = load();
            Box::pin(async move { loading.await.map(Loaded::from) })
        }))
    }
}

impl<K, V> Inner<K, V>
where
    K: Hash + Eq + Clone + fmt::Display + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Begins to load what is to stand there, in the one way or the other.
    pub(crate) fn begin_load(
        &self,
        load: Loader<V>,
        key: &K,
        route: Route,
        previous: Option<Arc<V>>,
    ) -> LoadFuture<Loaded<V>> {
        let source = match (load, self.source_by(route)) {
            (Loader::Given(load), _) => return load(previous),
            (Loader::Source, Ok(source)) => source.clone(),
            (Loader::Source, Err(error)) => return Box::pin(ready(Err(error))),
        };
        let key = key.clone();
        Box::pin(async move {
            match previous {
                Some(previous) => source.reload(&key, &previous).await,
                None => source.load(&key).await.map(Loaded::from),
            }
        })
    }
}
