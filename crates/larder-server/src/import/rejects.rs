//! The reject file: every document that was not imported, as it stood in the input, below the reason.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::table::Header;

/// How many reject files of one input there may be.
const MAX_FILES: u32 = 10_000;

/// Made when the first document is rejected, so that a clean import leaves no file. A file that is there already may have been mended
/// by hand and not been imported yet: the new one then has a number.
#[derive(Debug)]
pub(super) struct Rejects {
    path: PathBuf,
    /// The first line of the file, if it is of a table: so the mended file can be imported by itself.
    header: Option<Header>,
    file: Option<BufWriter<File>>,
    /// Whether they are only counted.
    discards: bool,
    count: u64,
}

impl Rejects {
    pub(super) fn new(path: PathBuf, header: Option<Header>) -> Self {
        Self { path, header, file: None, discards: false, count: 0 }
    }

    /// Counts documents and keeps none.
    pub(super) fn discarding(path: PathBuf) -> Self {
        Self { discards: true, ..Self::new(path, None) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where they are kept.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a document, or only counts it. `place` is its line or element.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn keep(&mut self, place: &str, reason: &str, text: &[u8]) -> io::Result<()> {
        self.count += 1;
        if self.discards {
            return Ok(());
        }
        let separator = self.header.as_ref().map(|header| header.separator);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = BufWriter::new(self.create()?);
                if let Some(header) = &self.header {
                    file.write_all(&apart_from_reasons(&header.row, separator))?;
                    file.write_all(b"\n")?;
                }
                self.file.insert(file)
            }
        };
        // A reason is one line, whatever text of the input it repeats.
        writeln!(file, "# {place}: {}", reason.replace(char::is_control, " "))?;
        file.write_all(&apart_from_reasons(text, separator))?;
        file.write_all(b"\n")
    }

    fn create(&mut self) -> io::Result<File> {
        if self.path.metadata().is_ok_and(|there| !there.is_file()) {
            // A pipe, or a device.
            return File::create(&self.path);
        }
        let first = self.path.clone();
        for number in 2..=MAX_FILES {
            match File::create_new(&self.path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.path = numbered(&first, number)
                }
                created => return created,
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Text that begins with `#` would be passed over as a reason: a row has its first cell put in quotes then, and JSON, to which a space
/// says nothing, has one before it.
fn apart_from_reasons(text: &[u8], separator: Option<u8>) -> Cow<'_, [u8]> {
    if !text.starts_with(b"#") {
        return text.into();
    }
    let Some(separator) = separator else { return [b" ", text].concat().into() };
    let (cell, rest) = text.split_at(text.iter().position(|byte| *byte == separator).unwrap_or(text.len()));
    let cell = cell.split(|byte| *byte == b'"').collect::<Vec<_>>().join(b"\"\"".as_slice());
    [b"\"", cell.as_slice(), b"\"", rest].concat().into()
}

/// `things.csv.2.rejects` for `things.csv.rejects`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut extension = number.to_string();
    if let Some(old) = path.extension() {
        extension = format!("{extension}.{}", old.display());
    }
    path.with_extension(extension)
}

/// The name of the input that a reject file is of, if it is one by its name; also of a numbered one, or one of a reject file.
pub(super) fn origin(path: &Path) -> Option<PathBuf> {
    let mut name = path.to_owned();
    let is = |name: &Path, what: fn(&str) -> bool| {
        name.extension().and_then(|extension| extension.to_str()).is_some_and(what)
    };
    while is(&name, |extension| extension == "rejects") {
        name.set_extension("");
        if is(&name, |extension| extension.parse::<u32>().is_ok()) {
            name.set_extension("");
        }
    }
    (name != path).then_some(name)
}
