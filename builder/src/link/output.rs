//! A file that appears whole or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file being written beside the place it is meant for.
///
/// Where the file system can (`O_TMPFILE`, open(2)) it has no name until it is whole, so that not even `SIGKILL` leaves a trace;
/// elsewhere it has a temporary one. Its mode is 0666 less the umask: it is data to a hypervisor and no program of the host.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: Staged,
}

#[derive(Debug)]
enum Staged {
    Nameless(File),
    Named(NamedTempFile),
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
        let dir = directory(path);
        let file = match nameless(dir) {
            Ok(file) => Staged::Nameless(file),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
                Staged::Named(named().tempfile_in(dir)?)
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { path: path.to_owned(), file })
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        match &self.file {
            Staged::Nameless(file) => file,
            Staged::Named(file) => file.as_file(),
        }
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
        match self.file {
            Staged::Named(file) => file.persist(&self.path).map(drop).map_err(|error| error.error),
            Staged::Nameless(file) => {
                // `linkat` cannot replace a file, so a name is taken first and then moved over it.
                let link = |name: &Path| give_name(&file, name).map_err(io::Error::from);
                let named = named().make_in(directory(&self.path), link)?;
                named.persist(&self.path).map_err(|error| error.error)
            }
        }
    }
}

fn named() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".isopod-").permissions(std::fs::Permissions::from_mode(0o666));
    builder
}

/// The directory that holds `path`.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn nameless(dir: &Path) -> rustix::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::from_raw_mode(0o666)).map(File::from)
}

/// Links a nameless file; open(2) gives this way for processes without `CAP_DAC_READ_SEARCH`.
fn give_name(file: &File, name: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd as _;
    let from = OsString::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    rustix::fs::linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW)
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
