//! The guest kernel, built by this crate's build script and carried inside the program.

use std::io::Write as _;
use std::path::PathBuf;

use crate::store::{Store, StoreError};

/// The kernel's ELF.
pub const ELF: &[u8] = include_bytes!(env!("ISOPOD_KERNEL"));

/// The SHA-256 of [`ELF`], in hexadecimal: computed by the build, so that no run has to.
pub const DIGEST: &str = env!("ISOPOD_KERNEL_DIGEST");

/// The kernel as a file in the store, for hypervisors that want a path.
///
/// # Errors
/// When it is not there yet and cannot be written.
pub fn file(store: &Store) -> Result<PathBuf, StoreError> {
    let dir = store.cache_dir().join("kernels");
    let path = dir.join(format!("{DIGEST}.elf"));
    let is_there = path.metadata().is_ok_and(|about| about.len() == ELF.len() as u64);
    if !is_there {
        std::fs::create_dir_all(&dir).map_err(StoreError::io("create the directory", &dir))?;
        let mut file = store.temp()?;
        file.write_all(ELF).map_err(StoreError::io("write", &path))?;
        file.persist(&path).map_err(|error| StoreError::io("put in place", &path)(error.error))?;
    }
    Ok(path)
}
