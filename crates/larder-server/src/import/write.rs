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
        let refusals: Vec<Option<Error>> = match self.mode {
            Mode::Check => documents.iter().map(|document| self.check(document).err()).collect(),
            Mode::Insert => refusals(self.collection.insert_many_raw(documents).await?),
            Mode::Upsert => refusals(self.collection.put_many_raw(documents).await?),
        };
        for (parsed, refusal) in sound.into_iter().zip(refusals) {
            match refusal {
                None => outcomes.written += 1,
                Some(error) => outcomes.rejected.push((parsed, error.to_string())),
            }
        }
        outcomes.rejected.sort_by_key(|(parsed, _)| parsed.number);
        Ok(outcomes)
    }

    /// What inserting would say about the id; whether the id is taken is left for then.
    fn check(&self, document: &RawDocumentBuf) -> Result<()> {
        self.id(document).map(|_| ())
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

fn refusals(written: Vec<Result<Id>>) -> Vec<Option<Error>> {
    written.into_iter().map(Result::err).collect()
}
