//! The guest kernel, built by this crate's build script and carried inside the program.

use std::path::PathBuf;

use crate::link::{self, LinkError};
use crate::store::{Store, StoreError};

/// The kernel's ELF.
pub const ELF: &[u8] = include_bytes!(env!("ISOPOD_KERNEL"));

/// The SHA-256 of [`ELF`], in hexadecimal: computed by the build, so that no run has to.
pub const DIGEST: &str = env!("ISOPOD_KERNEL_DIGEST");

/// The kernel with its symbols as a file in the store, for hypervisors that want a path.
///
/// # Errors
/// When it is not there yet and cannot be linked or written.
pub fn file(store: &Store) -> Result<PathBuf, LinkError> {
    let dir = store.cache_dir().join("kernels");
    // The program's version stands for the way of linking.
    let path = dir.join(format!("{DIGEST}-{}.elf", env!("CARGO_PKG_VERSION")));
    if !path.is_file() {
        std::fs::create_dir_all(&dir).map_err(StoreError::io("create the directory", &dir))?;
        let file = store.temp()?;
        link::write(ELF, None, file.as_file())?;
        file.persist(&path).map_err(|error| StoreError::io("put in place", &path)(error.error))?;
    }
    Ok(path)
}
