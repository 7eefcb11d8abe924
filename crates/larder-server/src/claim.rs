//! One process at a time on an embedded database: what another one wrote would never reach this one's cache.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use larder::{Error, ErrorKind, Result};

use crate::config::Config;

/// The file that is locked, under the data directory. It stays when the lock is gone.
const LOCK_FILE: &str = "larder.lock";

/// The right to write to the data directory, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    _locked: File,
}

/// Claims the data directory, and makes it if it is not there. `None` with MongoDB, which needs no claim: nodes that
/// share it tell each other through Redis.
///
/// # Errors
/// `ErrorKind::Config` if the folder cannot be made; `ErrorKind::Conflict` if another process has claimed it.
pub(crate) fn claim(config: &Config) -> Result<Option<Claim>> {
    if config.mongo.url.is_some() {
        return Ok(None);
    }
    let folder = &config.data_dir;
    fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
    let file = File::create(folder.join(LOCK_FILE)).map_err(|error| unusable(folder, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Claim { _locked: file })),
        Err(TryLockError::WouldBlock) => {
            let message = "is in use by another larder, which would not notice what this one writes; stop that one first";
            Err(Error::new(ErrorKind::Conflict, message).with_field(folder.display().to_string()))
        }
        Err(TryLockError::Error(error)) => Err(unusable(folder, error)),
    }
}

fn unusable(folder: &Path, error: std::io::Error) -> Error {
    let message = "the data directory cannot be used";
    Error::new(ErrorKind::Config, message).with_field(folder.display().to_string()).with_source(error)
}
