//! What `larder import` takes.

use std::path::{Path, PathBuf};

use super::format::Format;

/// Import documents from a file.
///
/// The embedded database belongs to one process: stop its server first. With MongoDB the server may run; what it has
/// cached it keeps until its time is up, unless both share a Redis.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The declared collection to import into.
    pub(crate) collection: String,
    /// A JSON array, JSON documents line by line, or CSV with a header row; `-` for standard input.
    pub(crate) file: PathBuf,
    /// The format; without it, the name and the first characters of the file decide.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The field that says which document it is, when that is not `_id`: `id`, `sku`. It becomes the `_id` and is taken out of the
    /// document; a document without it is rejected.
    #[arg(long, value_name = "FIELD")]
    pub(crate) id: Option<String>,
    /// Replace documents that exist already, instead of rejecting the new ones. Each needs an `_id`, or the field of --id.
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Read and check everything, write nothing but the file of --rejects, if that is given. Only the import itself finds ids that are
    /// taken.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many documents are written at once.
    #[arg(long, value_name = "DOCUMENTS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// Where rejected documents are kept, each below its reason. Default: the file's name with `.rejects` behind it. A file that is
    /// there already stays as it is, and the new one has a number: `FILE.2.rejects`. When it is imported, lines that begin with `#` are
    /// reasons; a row that begins so has its first cell in quotes.
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Import nothing: print a declaration of the collection, made from the first 1,000 documents, to begin with.
    #[arg(long, conflicts_with_all = ["upsert", "dry_run"])]
    pub(crate) declare: bool,
}

impl ImportArgs {
    /// Whether the documents come from standard input.
    pub(super) fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// Whether rejected documents are kept: a dry run leaves no file that nobody asked for.
    pub(super) fn keeps_rejects(&self) -> bool {
        !self.dry_run || self.rejects.is_some()
    }

    /// Where rejected documents are kept.
    pub(super) fn rejects_path(&self) -> PathBuf {
        let beside = || {
            let name = if self.is_stdin() { Path::new("stdin") } else { &self.file };
            let mut path = name.as_os_str().to_owned();
            path.push(".rejects");
            path.into()
        };
        self.rejects.clone().unwrap_or_else(beside)
    }
}
