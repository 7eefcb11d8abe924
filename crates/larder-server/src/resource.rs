//! A declared collection as the routes see it: its documents, and what each role may do with them.

use std::{sync::Arc, time::Duration};

use bson::Document;
use hyper::header::HeaderValue;
use larder::{
    cache::{Audit, HitLevel, HitRate, HitRateAlarm},
    document::{Collection, Schema},
};
use parking_lot::Mutex;

use crate::{
    auth::{Gate, RoleId},
    config::{CollectionConfig, Config, Grant, Verb},
    indexes::Indexes,
    routes::{View, kept},
    rows::Rows,
};

/// One collection of the data API.
#[derive(Debug)]
pub(crate) struct Resource {
    /// The name in URLs.
    pub name: String,
    /// The documents, through the cache.
    pub collection: Collection,
    /// Judges how many reads its cache answers; shown the counters once a second.
    alarm: Mutex<HitRateAlarm>,
    /// Compares what it serves with the database, if that is wanted.
    pub audit: Option<Audit>,
    /// What every answer says about being kept.
    pub cache_control: HeaderValue,
    /// Whether a write of a document has to say which state it expects (`If-Match`).
    pub requires_if_match: bool,
    /// What its indexes begin with, if lists that none carries are refused.
    pub indexes: Option<Indexes>,
    /// What the database itself demands of documents (`$jsonSchema`), as it was last found.
    validator: Mutex<Option<Arc<Document>>>,
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
    /// What it may change.
    pub writes: View,
    /// What it may say of a new document.
    pub creates: View,
    /// The documents that it may touch; `None` for all.
    pub rows: Option<Box<Rows>>,
}

impl Resource {
    /// # Errors
    /// Rules for alarms or an audit that cannot work.
    pub(crate) fn new(
        config: &CollectionConfig,
        collection: Collection,
        settings: &Config,
        gate: &Gate,
    ) -> larder::Result<Self> {
        let access = gate.role_names().map(|role| Access::of_role(config, role, gate.is_open())).collect();
        let cache_control = kept(config.cache_control.clone()).expect("checked with the configuration");
        let alarm = Mutex::new(HitRateAlarm::new(settings.alarms.clone())?);
        let audit = settings.audit.as_ref().map(|rules| collection.audit(rules)).transpose()?;
        Ok(Self {
            name: config.name.clone(),
            collection,
            alarm,
            audit,
            cache_control,
            requires_if_match: config.require_if_match,
            indexes: config.require_index.then(Indexes::default),
            validator: Mutex::default(),
            access,
        })
    }

    /// Judges the hit rate at this time after the start, and logs when that has become another one.
    pub(crate) fn judge(&self, since_start: Duration) {
        let mut alarm = self.alarm.lock();
        let crossed = alarm.observe(since_start, &self.collection.stats());
        let HitRate { rate, reads, .. } = alarm.last();
        drop(alarm);
        let (collection, percent) = (self.name.as_str(), (rate.unwrap_or(1.0) * 1_000.0).round() / 10.0);
        match crossed {
            None | Some(HitLevel::Unknown) => {}
            Some(HitLevel::Good) => {
                tracing::info!(collection, percent, reads, "The hit rate is as it should be again.");
            }
            Some(HitLevel::Low) => tracing::warn!(collection, percent, reads, "The hit rate is low."),
            Some(HitLevel::VeryLow) => {
                tracing::error!(
                    collection,
                    percent,
                    reads,
                    "The hit rate is very low: the cache helps little."
                );
            }
        }
    }

    /// What was judged last.
    pub(crate) fn hit_rate(&self) -> HitRate {
        self.alarm.lock().last()
    }

    /// What a role may do here; `None` when that is nothing.
    pub(crate) fn access(&self, role: RoleId) -> Option<&Access> {
        self.access[role.0].as_ref()
    }

    /// Asks the database what it has beside the documents: the indexes, if lists need them, and the validator. What cannot be
    /// asked for now stays as it was; each question has the deadline of the database.
    pub(crate) async fn look(&self) {
        if let Some(indexes) = &self.indexes {
            indexes.look(&self.collection).await;
        }
        match self.collection.options().await {
            Ok(found) => *self.validator.lock() = found.json_schema.map(Arc::new),
            Err(error) => {
                let collection = self.name.as_str();
                tracing::debug!(%error, collection, "The validator could not be looked at.");
            }
        }
    }

    /// What the database itself demands of documents, in MongoDB's dialect of JSON Schema, as it was last found.
    pub(crate) fn validator(&self) -> Option<Arc<Document>> {
        self.validator.lock().clone()
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
        let grant = config.grants.iter().find(|grant| grant.role == role);
        grant.map(|grant| Self::of_grant(grant, &config.schema))
    }

    fn everything(schema: &Schema) -> Self {
        let queries = schema.pipelines().iter().map(|query| query.name().to_owned()).collect();
        Self {
            verbs: Verb::ALL.to_vec(),
            queries,
            view: View::default(),
            writes: View::default(),
            creates: View::default(),
            rows: None,
        }
    }

    fn of_grant(grant: &Grant, schema: &Schema) -> Self {
        let view = View::new(grant.read.clone(), grant.hide.clone());
        // What a role may not see it may not overwrite either, unless the grant says so.
        let writes = match &grant.write {
            Some(write) => View::new(Some(write.clone()), Vec::new()),
            None => view.clone(),
        };
        let rows = grant.rows.as_ref().map(|template| Box::new(Rows::new(template, schema)));
        // What its rows say of a field it may say too, and nothing else.
        let (writes, creates) = match &rows {
            Some(rows) => (writes.clone().with(rows.fixed_whole()), writes.with(rows.fixed())),
            None => (writes.clone(), writes),
        };
        Self { verbs: grant.verbs.clone(), queries: grant.queries.clone(), view, writes, creates, rows }
    }

    pub(crate) fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    pub(crate) fn allows_query(&self, name: &str) -> bool {
        self.queries.iter().any(|query| query == name)
    }
}
