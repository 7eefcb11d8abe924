//! The reject file: every document that was not imported, as it stood in the input, below the reason.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

/// Made when the first document is rejected, so that a clean import leaves no file.
#[derive(Debug)]
pub(super) struct Rejects {
    path: PathBuf,
    /// The first line of the file: the header row of a table, so that the mended file can be imported by itself.
    header: Option<Vec<u8>>,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    pub(super) fn new(path: PathBuf, header: Option<Vec<u8>>) -> Self {
        Self { path, header, file: None, count: 0 }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where they are kept.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Keeps a document. `place` is its line or element.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn keep(&mut self, place: &str, reason: &str, text: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = BufWriter::new(File::create(&self.path)?);
                if let Some(header) = &self.header {
                    file.write_all(header)?;
                    file.write_all(b"\n")?;
                }
                self.file.insert(file)
            }
        };
        self.count += 1;
        // A reason is one line, whatever text of the input it repeats.
        writeln!(file, "# {place}: {}", reason.replace(char::is_control, " "))?;
        file.write_all(text)?;
        file.write_all(b"\n")
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
