//! The input: opened, counted, and known by its format.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{args::ImportArgs, format::Format, rejects};

const BUFFER_BYTES: usize = 256 << 10;

/// An opened input.
pub(super) struct Input {
    pub(super) reader: BufReader<Counted>,
    pub(super) format: Format,
    /// Lines that begin with `#` are the reasons in a reject file, not documents.
    pub(super) has_comments: bool,
    /// Bytes read so far; shared with whoever shows the progress.
    pub(super) position: Arc<AtomicU64>,
    /// All bytes, if that is known.
    pub(super) length: Option<u64>,
}

impl Input {
    /// Opens what the arguments name.
    ///
    /// # Errors
    /// When it cannot be read, or is empty.
    pub(super) fn open(args: &ImportArgs) -> io::Result<Self> {
        let (source, length): (Box<dyn Read + Send>, _) = if args.is_stdin() {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(&args.file)?;
            let metadata = file.metadata()?;
            // A pipe has a name and no length.
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        Self::new(source, length, args)
    }

    pub(super) fn new(
        source: Box<dyn Read + Send>,
        length: Option<u64>,
        args: &ImportArgs,
    ) -> io::Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, position: Arc::clone(&position) };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
        let origin = rejects::origin(&args.file);
        let is_rejects = origin.is_some();
        let name = origin.unwrap_or_else(|| args.file.clone());
        // Looked at in any case: it also takes a byte order mark away.
        let seen = match Format::of_content(&mut reader)? {
            // A reject file begins with a reason, and keeps elements of an array one below the other.
            Format::Csv if is_rejects => Format::Ndjson,
            seen => seen,
        };
        let format = args.format.or_else(|| Format::of_name(&name)).unwrap_or(seen);
        Ok(Self { reader, format, has_comments: is_rejects, position, length })
    }
}

/// A source whose bytes are counted as they are read.
pub(super) struct Counted {
    source: Box<dyn Read + Send>,
    position: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
