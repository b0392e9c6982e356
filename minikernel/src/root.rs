//! The root: the image's files, with a layer in memory that takes all changes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use isopod_drivers::block::Block;
use isopod_drivers::disk::Disks;
use isopod_fs::FileSystem;
use isopod_fs::erofs::{Erofs, OpenError};
use isopod_fs::pages::{PageCache, PageSource};
use isopod_fs::tmpfs::{self, Options};
use isopod_hal::boot::BootInfo;
use isopod_hal::boot_memory::BootMemory;
use isopod_hal::clock;
use isopod_linux::sched;
use isopod_manifest::Root;

use crate::disk::Disk;
use crate::partition;

/// What to do about a root that cannot be understood.
pub const DAMAGED: &str = "hint: the image is damaged, or made for another kernel: build or pull it again";

/// A root that is ready for use.
pub struct Mounted {
    /// Its files, with a layer that takes changes.
    pub files: Arc<dyn FileSystem>,
    /// For a root on a disk, what was read of it.
    pub page_cache: Option<Arc<PageCache>>,
    /// For a root on a partition, its disk.
    pub disk: Option<Arc<dyn Block>>,
}

/// Mounts the root that the manifest names. The error says what is wrong, and on a second line what to do.
pub async fn mount(place: Root, boot: &BootInfo, disks: &mut Disks) -> Result<Mounted, String> {
    let (mut name, mut disk) = (String::from("the root"), None);
    let page_cache = match place {
        Root::Memory => None,
        Root::Disk => Some(PageCache::new(Arc::new(first(disks.known())?))),
        Root::Partition(id) => {
            // In memory of its own while it is needed: few roots are found so.
            let found = Box::pin(partition::find(id, disks)).await?;
            name = format!("the root, partition {id} of {}", found.disk.name());
            disk = Some(Arc::clone(&found.disk));
            Some(PageCache::new(Arc::new(Disk::part(found))))
        }
    };
    let source: Arc<dyn PageSource> = match &page_cache {
        Some(cache) => Arc::clone(cache) as _,
        None => linked(boot)?,
    };
    let image = loop {
        match Erofs::open(Arc::clone(&source)) {
            Ok(image) => break image,
            Err(OpenError::Wait(wait)) => wait.await,
            Err(error) => return Err(format!("cannot mount {name}: {error}\n{DAMAGED}")),
        }
    };
    let lower: Arc<dyn FileSystem> = image;
    match tmpfs::overlay(&lower, &Options::default()) {
        Ok(files) => Ok(Mounted { files, page_cache, disk }),
        Err(error) => Err(format!("cannot put a writable layer over the root: {error:?}\n{DAMAGED}")),
    }
}

/// The root that is linked to the kernel.
fn linked(boot: &BootInfo) -> Result<Arc<BootMemory>, String> {
    let missing = "the manifest says that a root is linked to the kernel, but there is none\nhint: build the image again";
    let range = boot.link.root.ok_or(missing)?;
    let outside = "the linked root lies outside of memory\nhint: give the VM more with -m";
    Ok(Arc::new(BootMemory::claim(range).ok_or(outside)?))
}

/// The first disk.
fn first(disks: &[Arc<dyn Block>]) -> Result<Disk, String> {
    let disk = disks.first().ok_or(
        "the manifest says that the root is on a disk, but there is no disk\nhint: attach it as the first virtio block device",
    )?;
    Ok(Disk::whole(Arc::clone(disk)))
}

/// Makes sure that whoever reads gets an error of a disk that does not answer any more.
pub fn watch(disk: Arc<dyn Block>) {
    const PAUSE: u64 = 8_000_000_000;
    sched::spawn(async move {
        loop {
            sched::sleep_until(clock::monotonic_ns() + PAUSE).await;
            disk.expire();
        }
    });
}
