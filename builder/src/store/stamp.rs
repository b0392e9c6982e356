//! Whether a file of the cache is still the one that was put there.
//!
//! Beside each lies a stamp: size, inode and time of the last change, which every write, truncation or replacement of the file alters
//! (inode(7)). What reached the disk before it got its name has a stamp that lasts. What did not is whole only as long as the system
//! that wrote it runs: its stamp names the boot, and after another one the content has to be looked at again. To wait for the disk
//! would cost every build more than that.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

/// How long a stamp is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until the file changes.
    UntilChanged,
    /// Until the file changes or the system is started again.
    UntilBoot,
}

impl Store {
    /// Stamps the file at `path` as whole.
    pub(super) fn stamp(&self, path: &Path, lasts: Lasts) -> Result<(), StoreError> {
        // Where nothing can be said of the file, there is no stamp: the next reader looks at the content.
        current(path, lasts).map_or(Ok(()), |stamp| self.write_whole(stamp.as_bytes(), &place(path)))
    }
}

/// Whether the file at `path` is as it was when it was stamped.
pub(super) fn holds(path: &Path, lasts: Lasts) -> bool {
    let stamp = fs::read_to_string(place(path)).ok();
    stamp.is_some() && stamp == current(path, lasts)
}

/// Deletes a file and its stamp.
pub(super) fn remove(path: &Path) {
    // Another process may have been faster; what cannot be deleted stays without a stamp that holds.
    let _ = fs::remove_file(place(path));
    let _ = fs::remove_file(path);
}

/// The stamp that the file would get now.
fn current(path: &Path, lasts: Lasts) -> Option<String> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let boot = match lasts {
        Lasts::UntilChanged => String::new(),
        Lasts::UntilBoot => fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?,
    };
    let (size, inode) = (about.len(), about.ino());
    let (seconds, nanos) = (about.ctime(), about.ctime_nsec());
    Some(format!("{size} {inode} {seconds}.{nanos:09} {boot}\n"))
}

fn place(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".stamp");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_until_the_file_is_touched() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let path = home.path().join("file");
        fs::write(&path, "content").unwrap();
        for lasts in [Lasts::UntilChanged, Lasts::UntilBoot] {
            assert!(!holds(&path, lasts), "there is no stamp of this kind yet");
            store.stamp(&path, lasts).unwrap();
            assert!(holds(&path, lasts));
        }
        // The same bytes again, and an older time of modification: only the inode can tell.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "content").unwrap();
        fs::File::open(&path).unwrap().set_modified(modified).unwrap();
        assert!(!holds(&path, Lasts::UntilBoot));
        store.stamp(&path, Lasts::UntilBoot).unwrap();
        remove(&path);
        assert!(!path.exists() && !holds(&path, Lasts::UntilBoot));
    }
}
