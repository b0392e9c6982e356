//! Temporary files: locked while they are written, renamed when they are whole, swept when their writer died.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::StoreError;

/// Files younger than this are not swept: their writer may be about to lock them.
const GRACE: Duration = Duration::from_mins(1);

/// Makes and locks a temporary file in `dir`.
pub(super) fn create(dir: &Path) -> Result<NamedTempFile, StoreError> {
    let file = NamedTempFile::new_in(dir).map_err(StoreError::io("create a temporary file in", dir))?;
    // Where the file system has no locks (some network ones), only the sweep is poorer for it.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Gives a whole file its name.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let file = file.persist(path).map_err(|error| StoreError::io("put in place", path)(error.error))?;
    // A lock on a finished file would say nothing.
    let _ = file.unlock();
    Ok(())
}

/// As [`persist`], but the bytes reach the disk first, so that a power cut cannot leave the name without them.
pub(super) fn persist_durably(file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
    file.as_file().sync_data().map_err(StoreError::io("write", path))?;
    persist(file, path)
}

/// Deletes what killed processes left in `dir`. Whatever cannot be examined or deleted stays: the next sweep
/// meets it again.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > GRACE));
        if old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_old_files_that_nobody_holds_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - 2 * GRACE;
        let held = create(dir.path()).unwrap();
        held.as_file().set_modified(long_ago).unwrap();
        let young = dir.path().join("young");
        File::create(&young).unwrap();
        let left = dir.path().join("left");
        File::create(&left).unwrap().set_modified(long_ago).unwrap();

        sweep(dir.path());
        assert!(held.path().exists() && young.exists());
        assert!(!left.exists());
    }
}
