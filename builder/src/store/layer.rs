//! Inflated layers: tar files by the digest of their bytes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::stamp::{self, Lasts};
use super::{Cached, Digest, DigestWriter, Store, StoreError, Temp, temp};

impl Store {
    /// An inflated layer (a tar file) by the digest of its uncompressed bytes. After a start of the system the first look reads all of
    /// it. A damaged one is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be read.
    pub fn layer(&self, diff_id: &Digest) -> Result<Cached<PathBuf>, StoreError> {
        let path = self.layer_path(diff_id);
        if stamp::holds(&path, Lasts::UntilBoot) {
            return Ok(Cached::Whole(path));
        }
        if !path.is_file() {
            return Ok(Cached::Missing);
        }
        if digest_of(&path).map_err(StoreError::io("read", &path))? != *diff_id {
            stamp::remove(&path);
            return Ok(Cached::Damaged);
        }
        self.stamp(&path, Lasts::UntilBoot)?;
        Ok(Cached::Whole(path))
    }

    /// Keeps an inflated layer whose content the caller has found to have the digest `diff_id`.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be put in place.
    pub fn put_layer(&self, diff_id: &Digest, tar: Temp) -> Result<(), StoreError> {
        let path = self.layer_path(diff_id);
        temp::persist(tar, &path)?;
        self.stamp(&path, Lasts::UntilBoot)
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.cache_dir().join("layers/sha256").join(diff_id.hex())
    }
}

/// The digest of a file's bytes.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut writer = DigestWriter::new(io::sink());
    let mut file = io::BufReader::with_capacity(256 * 1024, File::open(path)?);
    io::copy(&mut file, &mut writer)?;
    Ok(writer.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn a_layer_without_its_stamp_is_held_to_its_digest() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let id = Digest::of(b"a layer");
        assert_eq!(store.layer(&id).unwrap(), Cached::Missing);
        let mut tar = store.temp().unwrap();
        tar.write_all(b"a layer").unwrap();
        store.put_layer(&id, tar).unwrap();
        let path = store.layer_path(&id);
        assert_eq!(store.layer(&id).unwrap(), Cached::Whole(path.clone()));
        // Written again, as by a copy of the cache, it is read once and then known.
        fs::write(&path, "a layer").unwrap();
        assert!(!stamp::holds(&path, Lasts::UntilBoot));
        assert_eq!(store.layer(&id).unwrap(), Cached::Whole(path.clone()));
        assert!(stamp::holds(&path, Lasts::UntilBoot));
        fs::write(&path, "a liar!").unwrap();
        assert_eq!(store.layer(&id).unwrap(), Cached::Damaged);
        assert_eq!(store.layer(&id).unwrap(), Cached::Missing);
    }
}
