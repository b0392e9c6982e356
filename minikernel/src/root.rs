//! The root: the image's files, with a layer in memory that takes all changes.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use isopod_drivers::block::Block;
use isopod_fs::FileSystem;
use isopod_fs::erofs::{Erofs, OpenError};
use isopod_fs::pages::{PageCache, PageSource};
use isopod_fs::tmpfs::{self, Options};
use isopod_hal::boot::BootInfo;
use isopod_hal::boot_memory::BootMemory;
use isopod_manifest::Root;

use crate::disk::Disk;

/// Mounts the root that the manifest names. The error says what is wrong.
pub async fn mount(
    place: Root,
    boot: &BootInfo,
    disks: &[Arc<dyn Block>],
) -> Result<Arc<dyn FileSystem>, String> {
    let source = source(place, boot, disks)?;
    let image = loop {
        match Erofs::open(Arc::clone(&source)) {
            Ok(image) => break image,
            Err(OpenError::Wait(wait)) => wait.await,
            Err(error) => return Err(format!("cannot mount the root: {error}")),
        }
    };
    let lower: Arc<dyn FileSystem> = image;
    match tmpfs::overlay(&lower, &Options::default()) {
        Ok(root) => Ok(root),
        Err(error) => Err(format!("cannot put a writable layer over the root: {error:?}")),
    }
}

fn source(place: Root, boot: &BootInfo, disks: &[Arc<dyn Block>]) -> Result<Arc<dyn PageSource>, String> {
    match place {
        Root::Memory => {
            let range = boot
                .link
                .root
                .ok_or("the manifest says that a root is linked to the kernel, but there is none")?;
            let memory = BootMemory::claim(range)
                .ok_or("the linked root lies outside of memory: give the VM more with -m")?;
            Ok(Arc::new(memory))
        }
        Root::Disk => {
            let disk =
                disks.first().ok_or("the manifest says that the root is on a disk, but there is no disk")?;
            Ok(PageCache::new(Arc::new(Disk(Arc::clone(disk)))))
        }
    }
}
