//! `larder import`: documents from a file, typed by the declared fields of their collection.
//!
//! One thread reads and checks, another writes; between them a few batches wait. Memory does not grow with the file.

mod args;
mod array;
mod columns;
mod declare;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod id;
mod infer;
mod input;
mod lines;
mod parse;
mod progress;
mod record;
mod rejects;
mod table;
mod write;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{fmt, io, path::PathBuf, time::Duration};

use indicatif::HumanCount;
use larder::{
    Error, ErrorKind, Result,
    document::{Collection, Schema},
};
use tokio::{sync::mpsc, task::spawn_blocking};

pub(crate) use self::{args::ImportArgs, declare::declare};
use self::{
    input::Input,
    parse::{Form, Parsed},
    progress::Progress,
    rejects::Rejects,
    write::Writer,
};

/// Batches that wait for the database while the next is read.
const WAITING: usize = 3;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) imported: u64,
    pub(crate) rejected: u64,
    /// Where the rejected ones are kept, but for a dry run.
    pub(crate) rejects: PathBuf,
    pub(crate) elapsed: Duration,
    /// The time that the indexes took afterwards.
    pub(crate) indexing: Duration,
    dry_run: bool,
    are_kept: bool,
}

/// Imports what the arguments name into `collection`.
///
/// A document that cannot be read, does not fit the declaration, or whose `_id` is taken is kept in the reject file and
/// leaves the others alone.
///
/// # Errors
/// `ErrorKind::Config` if the input cannot be read at all, or a document to be replaced has no id; as [`Collection::insert_many`] if the database fails. What was
/// imported until then stays, and the message says how much that is.
pub(crate) async fn run(args: &ImportArgs, collection: &Collection) -> Result<Outcome> {
    let input = Input::open(args).map_err(|error| unreadable(args, error))?;
    import(args, collection, input).await
}

async fn import(args: &ImportArgs, collection: &Collection, input: Input) -> Result<Outcome> {
    let mut progress = Progress::new(input.length, input.position.clone());
    let form = Form { schema: collection.schema().clone(), id: args.id.clone() };
    let records = parse::records(input, &form).map_err(|error| unreadable(args, error))?;
    let (noun, is_array) = (records.noun(), records.is_array());
    let mut rejects = match args.keeps_rejects() {
        true => Rejects::new(args.rejects_path(), records.header()),
        false => Rejects::discarding(args.rejects_path()),
    };
    let (sender, mut batches) = mpsc::channel(WAITING);
    let size = args.batch as usize;
    let reader = spawn_blocking(move || parse::run(records, &form, size, &sender));

    let writer = Writer::new(collection, args);
    let mut imported = 0;
    while let Some(batch) = batches.recv().await {
        let batch =
            batch.map_err(|error| unreadable(args, error)).map_err(|error| so_far(error, imported))?;
        if args.upsert {
            require_ids(&batch, noun)?;
        }
        let outcomes = writer.write(batch).await.map_err(|error| so_far(error, imported))?;
        for (Parsed { number, text, .. }, reason) in outcomes.rejected {
            let place = format!("{noun} {number}");
            progress.rejected(&place, &reason, args.keeps_rejects());
            let text = if is_array { array::one_line(&text) } else { text };
            rejects.keep(&place, &reason, &text).map_err(|error| not_kept(&rejects, error))?;
        }
        imported += outcomes.written;
        progress.show(imported);
    }
    rejects.finish().map_err(|error| not_kept(&rejects, error))?;
    reader.await.map_err(|error| {
        Error::new(ErrorKind::Source, "the reading thread ended early").with_source(error)
    })?;
    let elapsed = progress.elapsed();
    // An empty collection is filled first and indexed afterwards, which is faster.
    let indexes = indexes_of(collection.schema());
    progress.finish_with(format!("Making {indexes} indexes; the documents are all there"));
    if !args.dry_run {
        collection.ensure_indexes().await.map_err(|error| error.context("make the indexes"))?;
    }
    Ok(Outcome {
        imported,
        rejected: rejects.count(),
        rejects: rejects.path().to_owned(),
        elapsed,
        indexing: progress.elapsed() - elapsed,
        dry_run: args.dry_run,
        are_kept: args.keeps_rejects(),
    })
}

/// Refuses what cannot be put in the place of anything: it would be there once more after every import.
fn require_ids(batch: &[Parsed], noun: &str) -> Result<()> {
    let has_none = |parsed: &&Parsed| {
        parsed.document.as_ref().is_ok_and(|document| matches!(document.get("_id"), Ok(None)))
    };
    let Some(Parsed { number, .. }) = batch.iter().find(has_none) else { return Ok(()) };
    let message = format!(
        "{noun} {number} has no _id, so --upsert would insert it once more with every import: name the field that says which \
         document it is by --id FIELD, or import without --upsert"
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// How many indexes the declaration asks for, at the most.
fn indexes_of(schema: &Schema) -> usize {
    schema.fields().iter().filter(|field| field.is_filterable() || field.is_sortable()).count()
}

fn unreadable(args: &ImportArgs, error: io::Error) -> Error {
    Error::new(ErrorKind::Config, "cannot be imported")
        .with_field(args.file.display().to_string())
        .with_source(error)
}

fn not_kept(rejects: &Rejects, error: io::Error) -> Error {
    let path = rejects.path().display().to_string();
    Error::new(ErrorKind::Unavailable, "rejected documents cannot be kept")
        .with_field(path)
        .with_source(error)
}

fn so_far(error: Error, imported: u64) -> Error {
    error.context(format_args!(
        "stopped after {} documents; --upsert goes on from there",
        HumanCount(imported)
    ))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = self.imported as f64 / self.elapsed.as_secs_f64().max(1e-3);
        let did = if self.dry_run { "could be imported" } else { "imported" };
        write!(f, "{} documents {did} in {:.1} s", HumanCount(self.imported), self.elapsed.as_secs_f64())?;
        write!(f, " ({}/s)", HumanCount(per_second as u64))?;
        if self.indexing > Duration::from_millis(100) {
            write!(f, ", indexes made in {:.1} s", self.indexing.as_secs_f64())?;
        }
        if self.rejected > 0 && self.are_kept {
            write!(f, ", {} rejected and kept in {}", HumanCount(self.rejected), self.rejects.display())?;
        } else if self.rejected > 0 {
            write!(f, ", {} would be rejected", HumanCount(self.rejected))?;
        }
        f.write_str(".")
    }
}
