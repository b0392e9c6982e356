//! Finished roots: an EROFS image and, beside it, what a command needs to know of it without opening it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stamp::{self, Lasts};
use super::{Cached, Digest, Store, StoreError, Temp, temp};

/// What is written in front of each description; a description of another version is not used, and its root
/// built again.
const VERSION: u32 = 2;

/// A finished root in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRoot<I> {
    /// What it is found by, which stands for its bytes.
    pub key: Digest,
    /// The EROFS image.
    pub image: PathBuf,
    /// What is to be known of it, which is none of the store's business.
    pub info: I,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    about: T,
}

impl Store {
    /// A finished root; missing, too, when it was described by another version of Isopod.
    pub fn root<I: DeserializeOwned>(&self, key: &Digest) -> Cached<CachedRoot<I>> {
        let (image, about) = self.root_paths(key);
        let Ok(json) = fs::read(about) else { return Cached::Missing };
        let about: Versioned<I> = match serde_json::from_slice(&json) {
            Ok(about) => about,
            Err(_) => return Cached::Damaged,
        };
        if about.version != VERSION {
            return Cached::Missing;
        }
        if !stamp::holds(&image, Lasts::UntilChanged) {
            return Cached::Damaged;
        }
        Cached::Whole(CachedRoot { key: *key, image, info: about.about })
    }

    /// Keeps a finished root. The same key always stands for the same bytes, so to be overtaken by another
    /// process is harmless.
    ///
    /// # Errors
    /// [`StoreError::Io`] when a file cannot be written or put in place.
    pub fn put_root<I: Serialize>(
        &self,
        key: &Digest,
        image: Temp,
        info: I,
    ) -> Result<CachedRoot<I>, StoreError> {
        let (path, about_path) = self.root_paths(key);
        let json = serde_json::to_vec(&Versioned { version: VERSION, about: &info })
            .map_err(|error| StoreError::io("describe", &about_path)(error.into()))?;
        // The image comes first: a root counts as present once its description is.
        temp::persist_durably(image, &path)?;
        self.stamp(&path, Lasts::UntilChanged)?;
        self.write_whole(&json, &about_path)?;
        Ok(CachedRoot { key: *key, image: path, info })
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

    /// What is to be known of a root, in these tests.
    type Info = std::collections::BTreeMap<String, Vec<u8>>;

    fn put(store: &Store, key: &Digest, info: Info) -> CachedRoot<Info> {
        let mut image = store.temp().unwrap();
        image.write_all(b"erofs").unwrap();
        store.put_root(key, image, info).unwrap()
    }

    #[test]
    fn a_root_is_found_once_it_is_described() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Digest::of(b"key");
        let info = Info::from([("passwd".to_owned(), vec![0xff, b'\n'])]);
        assert_eq!(store.root::<Info>(&key), Cached::Missing);
        put(&store, &key, info.clone());
        let Cached::Whole(found) = store.root::<Info>(&key) else { panic!("it was put here") };
        assert_eq!(found.info, info);
        assert_eq!(fs::read(found.image).unwrap(), b"erofs");
    }

    #[test]
    fn damaged_images_and_descriptions_of_other_versions_are_not_used() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Digest::of(b"key");
        let root = put(&store, &key, Info::default());
        let (_, about) = store.root_paths(&key);
        let json = fs::read_to_string(&about).unwrap();
        assert_eq!(store.root::<Info>(&key), Cached::Whole(root.clone()));
        fs::write(&about, json.replace(&format!("\"version\":{VERSION}"), "\"version\":0")).unwrap();
        assert_eq!(store.root::<Info>(&key), Cached::Missing);
        fs::write(&about, &json[..json.len() / 2]).unwrap();
        assert_eq!(store.root::<Info>(&key), Cached::Damaged);
        put(&store, &key, Info::default());
        fs::write(&root.image, "erofz").unwrap();
        assert_eq!(store.root::<Info>(&key), Cached::Damaged);
        fs::remove_file(&root.image).unwrap();
        assert_eq!(store.root::<Info>(&key), Cached::Damaged);
        assert_eq!(store.root::<Info>(&Digest::of(b"other")), Cached::Missing);
    }
}
