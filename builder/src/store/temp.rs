//! Files that are being written: without a name until they are whole where that is possible, else locked, and swept when their writer
//! died.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::StoreError;

/// Files younger than this are not swept: their writer may be about to lock them.
pub(super) const GRACE: Duration = Duration::from_mins(1);

/// A file being written. Dropped, it is gone.
///
/// Where the file system can (`O_TMPFILE`, open(2)) it has no name until it is whole, so that no signal leaves a trace, not even
/// `SIGKILL`; elsewhere it has a temporary one.
#[derive(Debug)]
pub struct Temp(Staged);

#[derive(Debug)]
enum Staged {
    Nameless(File),
    Named(NamedTempFile),
}

impl Temp {
    /// Makes one that is to become `path`, or a file beside it. Its mode is `mode` less the umask.
    ///
    /// # Errors
    /// When the directory is missing or cannot be written.
    pub fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        Self::within(directory(path), mode)
    }

    /// Makes one that is to become a file of the file system of `dir`. Its mode is `mode` less the umask.
    ///
    /// # Errors
    /// When the directory is missing or cannot be written.
    pub(super) fn within(dir: &Path, mode: u32) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(dir, flags, Mode::from_raw_mode(mode)) {
            Ok(file) => Ok(Self(Staged::Nameless(file.into()))),
            // What kernels and file systems say that do not know it.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::named(dir, mode),
            Err(errno) => Err(errno.into()),
        }
    }

    fn named(dir: &Path, mode: u32) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(mode);
        Ok(Self(Staged::Named(names().make_in(dir, |name| options.open(name))?)))
    }

    /// The file, to be written.
    pub fn as_file(&self) -> &File {
        match &self.0 {
            Staged::Nameless(file) => file,
            Staged::Named(file) => file.as_file(),
        }
    }

    /// The path by which this process opens it once more, as long as this value is there.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.as_file().as_raw_fd()).into()
    }

    /// Gives the file its name, in place of a file that has it.
    ///
    /// # Errors
    /// When it cannot be linked or renamed.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        let file = match self.0 {
            Staged::Named(file) => file,
            Staged::Nameless(file) => match give_name(&file, path) {
                // `linkat` cannot replace a file, so another name is taken first and then moved over it.
                Err(Errno::EXIST) => {
                    let link = |name: &Path| give_name(&file, name).map_err(io::Error::from);
                    let named = names().make_in(directory(path), link)?;
                    return named.persist(path).map_err(|error| error.error);
                }
                given => return given.map_err(io::Error::from),
            },
        };
        let file = file.persist(path).map_err(|error| error.error)?;
        // A lock on a finished file would say nothing.
        let _ = file.unlock();
        Ok(())
    }
}

impl Write for Temp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.as_file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.as_file().flush()
    }
}

fn names() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".isopod-");
    builder
}

/// The directory that holds `path`.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Links a nameless file; open(2) gives this way for processes without `CAP_DAC_READ_SEARCH`.
fn give_name(file: &File, name: &Path) -> rustix::io::Result<()> {
    let from = OsString::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    rustix::fs::linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW)
}

/// Makes and locks a temporary file in `dir`.
pub(super) fn create(dir: &Path) -> Result<Temp, StoreError> {
    let file = Temp::within(dir, 0o600).map_err(StoreError::io("create a temporary file in", dir))?;
    // Where the file system has no locks (some network ones), only the sweep is poorer for it.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Gives a whole file its name.
pub(super) fn persist(file: Temp, path: &Path) -> Result<(), StoreError> {
    file.persist(path).map_err(StoreError::io("put in place", path))
}

/// As [`persist`], but the bytes reach the disk first, so that a power cut cannot leave the name without them.
pub(super) fn persist_durably(file: Temp, path: &Path) -> Result<(), StoreError> {
    file.as_file().sync_data().map_err(StoreError::io("write", path))?;
    persist(file, path)
}

/// Deletes what in `dir` is older than `age` and held by nobody, as what killed processes left. Whatever cannot be examined or deleted
/// stays: the next sweep meets it again.
pub(super) fn sweep(dir: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let about = entry.metadata().ok().filter(fs::Metadata::is_file);
        let written = about.and_then(|about| about.modified().ok());
        let old = written.is_some_and(|at| at.elapsed().is_ok_and(|since| since > age));
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
        let Temp(Staged::Named(held)) = Temp::named(dir.path(), 0o600).unwrap() else {
            panic!("it is named")
        };
        held.as_file().try_lock().unwrap();
        held.as_file().set_modified(long_ago).unwrap();
        let young = dir.path().join("young");
        File::create(&young).unwrap();
        let left = dir.path().join("left");
        File::create(&left).unwrap().set_modified(long_ago).unwrap();

        sweep(dir.path(), GRACE);
        assert!(held.path().exists() && young.exists());
        assert!(!left.exists());
    }

    /// A build that is killed leaves nothing: there is no name that somebody would have to take away.
    #[test]
    fn what_is_half_written_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut temp = create(dir.path()).unwrap();
        temp.write_all(b"half").unwrap();
        let able = rustix::fs::open(dir.path(), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR).is_ok();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), usize::from(!able));
        assert_eq!(fs::read(temp.path()).unwrap(), b"half");
    }

    #[test]
    fn either_kind_appears_when_it_is_persisted_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (index, make) in [Temp::within, Temp::named, Temp::within].into_iter().enumerate() {
            drop(make(dir.path(), 0o600).unwrap());
            let mut temp = make(dir.path(), 0o600).unwrap();
            temp.write_all(&[index as u8]).unwrap();
            temp.persist(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), [index as u8]);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        }
    }
}
