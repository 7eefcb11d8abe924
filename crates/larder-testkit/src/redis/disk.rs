//! A disk that loses what was not synced when its machine ends itself.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("disk.c");

/// What a server with this folder, whose machine may die, writes to.
pub(super) struct Disk<'a>(pub(super) &'a Path);

impl Disk<'_> {
    /// To be called before the server starts.
    ///
    /// # Panics
    /// If there is no C compiler.
    pub(super) fn make(&self) {
        let source = self.0.join("disk.c");
        fs::write(&source, SOURCE).expect("the temporary folder is writable");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(self.library()).arg(&source);
        let output = compiler.output().expect("a C compiler is installed: `apt-get install gcc libc6-dev`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What its server must find in its environment.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library()), ("LARDER_DISK_BUSY", self.busy())]
    }

    fn library(&self) -> PathBuf {
        self.0.join("disk.so")
    }

    fn busy(&self) -> PathBuf {
        self.0.join("busy")
    }

    /// While it is busy, no sync comes to its end.
    pub(super) fn set_busy(&self, busy: bool) {
        let set = if busy { File::create(self.busy()).map(drop) } else { fs::remove_file(self.busy()) };
        set.expect("the disk was not so before");
    }

    /// Notes all of the server's files as they are now, as its own syncs do.
    pub(super) fn write_buffers(&self) {
        for (path, length, _) in self.each() {
            fs::write(note_of(&path), length.to_string()).expect("the folder is writable");
        }
    }

    /// How many bytes of the server's files are not on the disk.
    pub(super) fn unsynced(&self) -> u64 {
        self.each().map(|(_, length, synced)| length - synced).sum()
    }

    /// Takes away what is not on the disk, when the server is dead; returns how many bytes that were.
    pub(super) fn lose(&self) -> u64 {
        if self.busy().exists() {
            self.set_busy(false);
        }
        let lost = self.unsynced();
        for (path, _, synced) in self.each() {
            let file = OpenOptions::new().write(true).open(path).expect("the file is ours");
            file.set_len(synced).expect("a file can be cut");
        }
        lost
    }

    /// The files that writes are appended to, with their lengths, and how much of each is on the disk. The others are synced
    /// under another name, before they are put in their place.
    fn each(&self) -> impl Iterator<Item = (PathBuf, u64, u64)> {
        let files = fs::read_dir(self.0.join("appendonlydir")).expect("the server has a file");
        let paths = files.map(|file| file.expect("a readable folder").path());
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "aof")).filter_map(|path| {
            let is_appended_to = path.to_string_lossy().ends_with(".incr.aof");
            let note = fs::read_to_string(note_of(&path));
            // First the note: what is written meanwhile is not synced.
            let synced = note.map_or(0, |note| note.parse().expect("the note is a number"));
            let length = fs::metadata(&path).expect("the file is there").len();
            is_appended_to.then_some((path, length, synced.min(length)))
        })
    }
}

/// Where it is noted how much of the file is on the disk.
fn note_of(path: &Path) -> PathBuf {
    path.with_extension("aof.synced")
}
