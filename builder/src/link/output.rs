//! A file that appears whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::store::Temp;

/// A file being written for the place it is meant for. Its mode is 0666 less the umask: it is data to a hypervisor and no program of
/// the host.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: Temp,
}

impl Output {
    /// Opens an output that is to become `path`.
    ///
    /// # Errors
    /// When the directory is missing or cannot be written, or `path` is something that a file must not replace: a directory, a
    /// device.
    pub fn create(path: &Path) -> io::Result<Self> {
        match path.metadata() {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is there and not a regular file",
                ));
            }
            _ => {}
        }
        Ok(Self { path: path.to_owned(), file: Temp::beside(path, 0o666)? })
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes sure that there is room for `bytes`, so that a disk is not filled only to be told that it is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], or what keeps that from being found out.
    pub fn check_room(&self, bytes: u64) -> io::Result<()> {
        let about = rustix::fs::fstatvfs(self.file())?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        // Some network file systems do not tell their size.
        if about.f_blocks > 0 && free < bytes {
            let (needed, free) = (bytes.div_ceil(1 << 20), free >> 20);
            let reason = format!("{needed} MiB are needed there, and {free} MiB are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        Ok(())
    }

    /// Puts the whole file in place.
    ///
    /// # Errors
    /// When the bytes do not reach the disk or the file cannot be renamed.
    pub fn commit(self) -> io::Result<()> {
        self.file().sync_data()?;
        self.file.persist(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn appears_only_when_committed_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let dropped = Output::create(&path).unwrap();
        dropped.file().write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let output = Output::create(&path).unwrap();
        output.file().write_all(b"new").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn never_replaces_a_device_or_a_directory() {
        assert!(Output::create(Path::new("/dev/null")).is_err());
        assert!(Output::create(Path::new("/tmp")).is_err());
        let missing = Output::create(Path::new("/nonexistent/out")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
