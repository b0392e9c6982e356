//! Finished roots: an EROFS image and, beside it, what a command needs to know of it without opening it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Digest, Store, StoreError, temp};
use crate::source::ImageConfig;

/// What is written in front of each description; a description of another version is not used, and its root
/// built again.
const VERSION: u32 = 1;

/// A finished root in the store.
#[derive(Debug, Clone)]
pub struct CachedRoot {
    /// The EROFS image.
    pub image: PathBuf,
    /// What is to be known of it.
    pub info: RootInfo,
}

/// What must be known of a root to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootInfo {
    /// Where it came from, as a reference.
    pub source: String,
    /// What the image says of how to run it.
    pub config: ImageConfig,
    /// The root's `/etc/passwd`, empty where there is none: resolves `--user` without opening the root.
    pub passwd: Vec<u8>,
    /// The root's `/etc/group`, empty where there is none.
    pub group: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    about: T,
}

impl Store {
    /// A finished root; `None` when it is not here, or was described by another version of Isopod.
    pub fn root(&self, key: &Digest) -> Option<CachedRoot> {
        let (image, about) = self.root_paths(key);
        let about: Versioned<RootInfo> = serde_json::from_slice(&fs::read(about).ok()?).ok()?;
        (about.version == VERSION && image.is_file()).then_some(CachedRoot { image, info: about.about })
    }

    /// Keeps a finished root. The same key always stands for the same bytes, so to be overtaken by another
    /// process is harmless.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be written or put in place.
    pub fn put_root(
        &self,
        key: &Digest,
        image: NamedTempFile,
        about: &RootInfo,
    ) -> Result<CachedRoot, StoreError> {
        let (path, about_path) = self.root_paths(key);
        let json = serde_json::to_vec(&Versioned { version: VERSION, about })
            .map_err(|error| StoreError::io("describe", &about_path)(error.into()))?;
        // The image comes first: a root counts as present once its description is.
        temp::persist(image, &path)?;
        self.write_whole(&json, &about_path)?;
        Ok(CachedRoot { image: path, info: about.clone() })
    }

    fn root_paths(&self, key: &Digest) -> (PathBuf, PathBuf) {
        let file = |extension: &str| -> PathBuf {
            Path::new(self.cache_dir()).join("roots").join(format!("{}.{extension}", key.hex()))
        };
        (file("erofs"), file("json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_root_is_found_once_it_is_described() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Digest::of(b"key");
        let about =
            RootInfo { source: "elf:/bin/true".into(), passwd: vec![0xff, b'\n'], ..RootInfo::default() };
        assert!(store.root(&key).is_none());
        let mut image = store.temp().unwrap();
        image.write_all(b"erofs").unwrap();
        store.put_root(&key, image, &about).unwrap();

        let found = store.root(&key).unwrap();
        assert_eq!(found.info, about);
        assert_eq!(fs::read(found.image).unwrap(), b"erofs");
    }

    #[test]
    fn descriptions_of_other_versions_and_damaged_ones_are_not_used() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Digest::of(b"key");
        store.put_root(&key, store.temp().unwrap(), &RootInfo::default()).unwrap();
        let (_, about) = store.root_paths(&key);
        let json = fs::read_to_string(&about).unwrap();
        assert!(store.root(&key).is_some());
        fs::write(&about, json.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(store.root(&key).is_none());
        fs::write(&about, &json[..json.len() / 2]).unwrap();
        assert!(store.root(&key).is_none());
    }
}
