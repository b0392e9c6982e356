//! What tags resolved to: the fallback for when a registry cannot be reached.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Digest, Store, StoreError};

/// The reference is there for people: its digest is the file's name.
#[derive(Serialize, Deserialize)]
struct Record {
    reference: String,
    digest: Digest,
}

impl Store {
    /// The digest of the manifest, or index of manifests, that `reference` stood for when its registry was
    /// last asked; `None` when it never was, or the record cannot be read.
    pub fn tag(&self, reference: &str) -> Option<Digest> {
        let record: Record = serde_json::from_slice(&fs::read(self.tag_path(reference)).ok()?).ok()?;
        Some(record.digest)
    }

    /// Records what `reference` stands for now.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the record cannot be written.
    pub fn put_tag(&self, reference: &str, digest: Digest) -> Result<(), StoreError> {
        let path = self.tag_path(reference);
        let record = Record { reference: reference.to_owned(), digest };
        let json =
            serde_json::to_vec(&record).map_err(|error| StoreError::io("write", &path)(error.into()))?;
        self.write_whole(&json, &path)
    }

    fn tag_path(&self, reference: &str) -> PathBuf {
        self.cache_dir().join("tags").join(Digest::of(reference.as_bytes()).hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_counts() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let name = "docker.io/library/x:1";
        assert_eq!(store.tag(name), None);
        store.put_tag(name, Digest::of(b"old")).unwrap();
        store.put_tag(name, Digest::of(b"new")).unwrap();
        assert_eq!(store.tag(name), Some(Digest::of(b"new")));
        assert_eq!(store.tag("docker.io/library/x:2"), None);
    }
}
