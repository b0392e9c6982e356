//! The content-addressed cache, and the place for the state of running machines.
//!
//! ```text
//! CACHE/blobs/sha256/HEX    manifests and configurations, by the digest of their bytes
//! CACHE/layers/sha256/HEX   inflated layers (tar), by the digest of their uncompressed bytes (`diff_id`)
//! CACHE/roots/HEX.erofs     finished roots, and HEX.json: what is to be known of each without opening it
//! CACHE/kernels/HEX.elf     guest kernels as hypervisors load them, by what they were linked from
//! CACHE/tags/HEX            what a tag resolved to last, by the digest of the reference's text
//! CACHE/tmp/                files being written
//! STATE/manifests/HEX       what printed command lines name, for a week after they were printed
//! ```
//!
//! Every file gets its name when it is whole and verified, so a reader never meets half a file, two builds at once at
//! worst do the same work twice, and a killed one leaves the cache intact. Until then it has none, or, where the file
//! system cannot do that, one under `tmp/`. Such a file is locked by the process that writes it (`flock(2)`); the
//! kernel drops the lock with the process, and [`Store::at`] sweeps files that nobody holds.
//!
//! Nothing that is found here is trusted for its name: small files are held to their digests or read as what they
//! are, large ones to a stamp that lies beside them, and layers, where that does not hold, to their digests again.

mod digest;
mod error;
mod kernel;
mod layer;
mod root;
mod stamp;
mod tags;
mod temp;

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use digest::{Digest, DigestWriter, ParseDigestError};
pub use error::StoreError;
pub use layer::digest_of;
pub use root::CachedRoot;
pub use temp::Temp;

/// How much of the file system the cache leaves free, in bytes.
pub const RESERVE: u64 = 64 << 20;

/// How long what a printed command line names is kept.
const PRINTED: Duration = Duration::from_hours(7 * 24);

/// The cache and state directories of one user. Cheap to open; holds no file open.
#[derive(Debug, Clone)]
pub struct Store {
    cache: PathBuf,
    state: PathBuf,
}

impl Store {
    /// Opens the store the environment names: `$ISOPOD_HOME/{cache,state}` where that is set, else
    /// `$XDG_CACHE_HOME/isopod` and `$XDG_STATE_HOME/isopod` with the defaults of the XDG base directory
    /// specification.
    ///
    /// # Errors
    /// [`StoreError::NoHome`] without any of `ISOPOD_HOME`, the XDG variables and `HOME`; [`StoreError::Io`]
    /// when a directory cannot be made.
    pub fn open() -> Result<Self, StoreError> {
        let (cache, state) = directories(|name| std::env::var_os(name))?;
        Self::with(cache, state)
    }

    /// Opens the store under `home`, as `ISOPOD_HOME=home` does, and makes its directories where they are
    /// missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a directory cannot be made.
    pub fn at(home: &Path) -> Result<Self, StoreError> {
        Self::with(home.join("cache"), home.join("state"))
    }

    fn with(cache: PathBuf, state: PathBuf) -> Result<Self, StoreError> {
        let store = Self { cache, state };
        let made = ["blobs/sha256", "layers/sha256", "roots", "kernels", "tags", "tmp"]
            .map(|name| store.cache.join(name));
        for dir in made.iter().chain([&store.state]) {
            fs::create_dir_all(dir).map_err(StoreError::io("create the directory", dir))?;
        }
        temp::sweep(&store.temp_dir(), temp::GRACE);
        temp::sweep(&store.manifests_dir(), PRINTED);
        Ok(store)
    }

    /// Where the state of running machines is kept.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Where the manifests are that printed command lines name. They may hold secrets, and go after a week.
    pub fn manifests_dir(&self) -> PathBuf {
        self.state.join("manifests")
    }

    /// The directory of the cache.
    pub fn cache_dir(&self) -> &Path {
        &self.cache
    }

    /// The bytes of a manifest or configuration; `None` when it is not here, or damaged.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.blob_path(digest)).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a manifest or configuration and returns its digest.
    ///
    /// # Errors
    /// [`StoreError::Io`], a full disk among others.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.blob(&digest).is_none() {
            self.write_whole(bytes, &self.blob_path(&digest))?;
        }
        Ok(digest)
    }

    /// A new temporary file on the cache's file system. Dropped, it is gone; `persist` gives it its name.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be made.
    pub fn temp(&self) -> Result<Temp, StoreError> {
        temp::create(&self.temp_dir())
    }

    /// Makes sure that the cache's file system has room for `bytes` more, and some left for everybody else. A
    /// layer's real size is known only once it is inflated, and a hostile one inflates a thousandfold.
    ///
    /// # Errors
    /// [`StoreError::Full`] when less than [`RESERVE`] would be left; [`StoreError::Io`] when that cannot be found
    /// out.
    pub fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.cache)
            .map_err(|errno| StoreError::io("examine the file system of", &self.cache)(errno.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < RESERVE.saturating_add(bytes) {
            return Err(StoreError::Full { path: self.cache.clone(), free, bytes });
        }
        Ok(())
    }

    /// Writes a small file that its readers can tell from a damaged one, so that nothing waits for the disk.
    fn write_whole(&self, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
        let mut file = self.temp()?;
        file.write_all(bytes).map_err(StoreError::io("write", path))?;
        temp::persist(file, path)
    }

    fn temp_dir(&self) -> PathBuf {
        self.cache.join("tmp")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.cache.join("blobs/sha256").join(digest.hex())
    }
}

/// What the store knows of something large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached<T> {
    /// It is here as it was put here.
    Whole(T),
    /// It was here, but is no longer what it was: it is as good as missing.
    Damaged,
    /// It is not here.
    Missing,
}

/// The cache and state directories for the environment `var` reads. Relative paths count as unset, as the XDG
/// base directory specification asks; `ISOPOD_HOME` alone may be relative, to the current directory.
fn directories(var: impl Fn(&str) -> Option<OsString>) -> Result<(PathBuf, PathBuf), StoreError> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("ISOPOD_HOME") {
        // Command lines that are printed, and processes that are started elsewhere, name files in it.
        let home = std::path::absolute(&home).map_err(StoreError::io("find the directory", &home))?;
        return Ok((home.join("cache"), home.join("state")));
    }
    let base = |name: &str, default: &str| {
        let absolute = |path: &PathBuf| path.is_absolute();
        let base = set(name)
            .filter(absolute)
            .or_else(|| set("HOME").filter(absolute).map(|home| home.join(default)));
        base.map(|base| base.join("isopod")).ok_or(StoreError::NoHome)
    };
    Ok((base("XDG_CACHE_HOME", ".cache")?, base("XDG_STATE_HOME", ".local/state")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<(PathBuf, PathBuf), StoreError> {
        directories(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn isopod_home_comes_first_then_xdg_then_home() {
        let all = [("ISOPOD_HOME", "/i"), ("XDG_CACHE_HOME", "/c"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        assert_eq!(from(&all).unwrap(), ("/i/cache".into(), "/i/state".into()));
        assert_eq!(from(&all[1..]).unwrap(), ("/c/isopod".into(), "/s/isopod".into()));
        assert_eq!(from(&all[3..]).unwrap(), ("/h/.cache/isopod".into(), "/h/.local/state/isopod".into()));
        assert!(matches!(from(&[]), Err(StoreError::NoHome)));
    }

    #[test]
    fn a_relative_isopod_home_counts_from_the_current_directory() {
        let (cache, _) = from(&[("ISOPOD_HOME", "i")]).unwrap();
        assert_eq!(cache, std::env::current_dir().unwrap().join("i/cache"));
    }

    #[test]
    fn relative_xdg_directories_are_ignored() {
        let (cache, _) = from(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]).unwrap();
        assert_eq!(cache, Path::new("/h/.cache/isopod"));
    }

    #[test]
    fn blobs_are_found_by_digest_and_written_once() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let digest = Digest::of(b"hello");
        assert_eq!(store.blob(&digest), None);
        assert_eq!(store.put_blob(b"hello").unwrap(), digest);
        assert_eq!(store.blob(&digest).unwrap(), b"hello");
        fs::write(store.blob_path(&digest), "hullo").unwrap();
        assert_eq!(store.blob(&digest), None, "damaged");
        assert_eq!(store.put_blob(b"hello").unwrap(), digest);
        assert_eq!(store.blob(&digest).unwrap(), b"hello", "mended");
        assert_eq!(fs::read_dir(store.temp_dir()).unwrap().count(), 0, "no temporary file is left");
    }

    #[test]
    fn manifests_of_printed_commands_go_after_a_week() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        fs::create_dir_all(store.manifests_dir()).unwrap();
        let days = |count: u64| std::time::SystemTime::now() - Duration::from_hours(24 * count);
        for (name, age) in [("old", 8), ("young", 6)] {
            let file = fs::File::create(store.manifests_dir().join(name)).unwrap();
            file.set_modified(days(age)).unwrap();
        }
        Store::at(home.path()).unwrap();
        let left = fs::read_dir(store.manifests_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["young"]);
    }

    #[test]
    fn a_home_that_is_a_file_is_named_in_the_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Store::at(file.path()).unwrap_err();
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    }
}
