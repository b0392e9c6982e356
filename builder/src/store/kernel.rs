//! Guest kernels in the form that hypervisors load.

use std::path::PathBuf;

use super::stamp::{self, Lasts};
use super::{Store, StoreError, Temp, temp};

impl Store {
    /// The kernel that was kept under `key`; `None` when it is not here as it was put here.
    pub fn kernel(&self, key: &str) -> Option<PathBuf> {
        let path = self.kernel_path(key);
        stamp::holds(&path, Lasts::UntilChanged).then_some(path)
    }

    /// Keeps a kernel under a name that stands for its bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file cannot be put in place.
    pub fn put_kernel(&self, key: &str, file: Temp) -> Result<PathBuf, StoreError> {
        let path = self.kernel_path(key);
        temp::persist_durably(file, &path)?;
        self.stamp(&path, Lasts::UntilChanged)?;
        Ok(path)
    }

    fn kernel_path(&self, key: &str) -> PathBuf {
        self.cache_dir().join("kernels").join(format!("{key}.elf"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_kernel_that_was_changed_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        assert_eq!(store.kernel("key"), None);
        let mut file = store.temp().unwrap();
        file.write_all(b"kernel").unwrap();
        let path = store.put_kernel("key", file).unwrap();
        assert_eq!(store.kernel("key"), Some(path.clone()));
        std::fs::write(&path, "kern").unwrap();
        assert_eq!(store.kernel("key"), None);
    }
}
