//! A declared collection as the routes see it: its documents, and what each role may do with them.

use hyper::header::HeaderValue;
use larder::document::{Collection, Schema};

use crate::{
    auth::{Gate, RoleId},
    config::{CollectionConfig, Grant, Verb},
    routes::View,
};

/// One collection of the data API.
#[derive(Debug)]
pub(crate) struct Resource {
    /// The name in URLs.
    pub name: String,
    /// The documents, through the cache.
    pub collection: Collection,
    /// What every answer says about being kept.
    pub cache_control: HeaderValue,
    /// By role; `None` for a role that was granted nothing.
    access: Vec<Option<Access>>,
}

/// What one role may do with one collection.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    verbs: Vec<Verb>,
    queries: Vec<String>,
    /// What it sees of a document.
    pub view: View,
    /// What it may write.
    pub writes: View,
}

impl Resource {
    pub(crate) fn new(config: &CollectionConfig, collection: Collection, gate: &Gate) -> Self {
        let access = gate.role_names().map(|role| Access::of_role(config, role, gate.is_open())).collect();
        let cache_control =
            HeaderValue::from_str(&config.cache_control).expect("checked with the configuration");
        Self { name: config.name.clone(), collection, cache_control, access }
    }

    /// What a role may do here; `None` when that is nothing.
    pub(crate) fn access(&self, role: RoleId) -> Option<&Access> {
        self.access[role.0].as_ref()
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.collection.schema()
    }
}

impl Access {
    fn of_role(config: &CollectionConfig, role: &str, is_open: bool) -> Option<Self> {
        if is_open {
            return Some(Self::everything(&config.schema));
        }
        config.grants.iter().find(|grant| grant.role == role).map(Self::of_grant)
    }

    fn everything(schema: &Schema) -> Self {
        let queries = schema.pipelines().iter().map(|query| query.name().to_owned()).collect();
        Self { verbs: Verb::ALL.to_vec(), queries, view: View::default(), writes: View::default() }
    }

    fn of_grant(grant: &Grant) -> Self {
        let view = View::new(grant.read.clone(), grant.hide.clone());
        // What a role may not see it may not overwrite either, unless the grant says so.
        let writes = match &grant.write {
            Some(write) => View::new(Some(write.clone()), Vec::new()),
            None => view.clone(),
        };
        Self { verbs: grant.verbs.clone(), queries: grant.queries.clone(), view, writes }
    }

    pub(crate) fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    pub(crate) fn allows_query(&self, name: &str) -> bool {
        self.queries.iter().any(|query| query == name)
    }
}
