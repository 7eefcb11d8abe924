//! The writing half of an import.

use bson::RawDocumentBuf;
use larder::{
    Error, ErrorKind, Result,
    document::{Collection, Id},
};

use super::{args::ImportArgs, parse::Parsed};

/// What happens to documents that were read.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Nothing.
    Check,
    Insert,
    /// Inserted, or put in the place of the one with the same id.
    Upsert,
}

/// Writes batches into one collection.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    collection: &'a Collection,
    mode: Mode,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) written: u64,
    pub(super) rejected: Vec<(Parsed, String)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(collection: &'a Collection, args: &ImportArgs) -> Self {
        let mode = match (args.dry_run, args.upsert) {
            (true, _) => Mode::Check,
            (false, true) => Mode::Upsert,
            (false, false) => Mode::Insert,
        };
        Self { collection, mode }
    }

    /// Writes a batch and says for each record that was not written why.
    ///
    /// # Errors
    /// When the database as a whole fails; part of the batch may have been written then.
    pub(super) async fn write(&self, batch: Vec<Parsed>) -> Result<Outcomes> {
        let mut outcomes = Outcomes::default();
        let (mut sound, mut documents) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for mut parsed in batch {
            // Left behind is an empty reason, which nobody looks at.
            match std::mem::replace(&mut parsed.document, Err(String::new())) {
                Ok(document) => {
                    sound.push(parsed);
                    documents.push(document);
                }
                Err(reason) => outcomes.rejected.push((parsed, reason)),
            }
        }
        let results = match self.mode {
            Mode::Check => documents.iter().map(|document| self.check(document)).collect(),
            Mode::Insert => self.insert(documents).await?,
            Mode::Upsert => self.upsert(documents).await?,
        };
        for (parsed, result) in sound.into_iter().zip(results) {
            match result {
                Ok(()) => outcomes.written += 1,
                Err(error) => outcomes.rejected.push((parsed, error.to_string())),
            }
        }
        outcomes.rejected.sort_by_key(|(parsed, _)| parsed.number);
        Ok(outcomes)
    }

    /// What inserting would say about the id; whether the id is taken is left for then.
    fn check(&self, document: &RawDocumentBuf) -> Result<()> {
        self.id(document).map(|_| ())
    }

    async fn insert(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<()>>> {
        let inserted = self.collection.insert_many_raw(documents).await?;
        Ok(inserted.into_iter().map(|result| result.map(|_| ())).collect())
    }

    /// Inserts all of them, then puts those whose id is taken, one by one: most imports bring new documents.
    async fn upsert(&self, documents: Vec<RawDocumentBuf>) -> Result<Vec<Result<()>>> {
        let mut results = self.insert(documents.clone()).await?;
        for (result, document) in results.iter_mut().zip(documents) {
            if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
                let put = async {
                    let id = self.id(&document)?.ok_or_else(|| Error::invalid("_id", "is missing"))?;
                    let document =
                        document.try_into().map_err(|_| Error::new(ErrorKind::Invalid, "is not BSON"))?;
                    self.collection.put(&id, document).await
                };
                *result = match put.await {
                    Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                        return Err(error);
                    }
                    other => other.map(|_| ()),
                };
            }
        }
        Ok(results)
    }

    /// The document's id; `None` if it has none and will be given one.
    fn id(&self, document: &RawDocumentBuf) -> Result<Option<Id>> {
        let schema = self.collection.schema();
        let value = document.get("_id").map_err(|_| Error::new(ErrorKind::Invalid, "is not BSON"))?;
        match value {
            Some(value) => schema
                .id_type()
                .read(&value.try_into().map_err(|_| Error::invalid("_id", "is not BSON"))?)
                .map(Some),
            None if schema.id_type() == larder::document::IdType::ObjectId => Ok(None),
            None => Err(Error::invalid("_id", "is missing")),
        }
    }
}
