//! The guest kernel, built by this crate's build script and carried inside the program.

use std::path::PathBuf;

use crate::link::{self, KernelFile, LinkError};
use crate::store::Store;

/// The kernel, as the build script made it.
pub const FILE: KernelFile<'_> = KernelFile {
    elf: include_bytes!(env!("ISOPOD_KERNEL")),
    packed: include_bytes!(env!("ISOPOD_KERNEL_PACKED")),
};

/// Stands for [`FILE`] and for the code that links it: computed by the build, so that no run has to.
const KEY: &str = env!("ISOPOD_KERNEL_KEY");

/// The kernel with its symbols as a file in the store, for hypervisors that want a path.
///
/// # Errors
/// When it is not there yet and cannot be linked or written.
pub fn file(store: &Store) -> Result<PathBuf, LinkError> {
    if let Some(path) = store.kernel(KEY) {
        return Ok(path);
    }
    let file = store.temp()?;
    link::write(FILE, None, file.as_file())?;
    Ok(store.put_kernel(KEY, file)?)
}
