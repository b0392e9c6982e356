//! Applications as disks that firmware starts.

use std::fs::File;
use std::path::PathBuf;

use clap::ValueEnum;
use isopod_manifest::{Channel, Manifest, PartitionId, Root};

use super::Failure;
use super::build::{cannot_write, describe};
use crate::disk::{self, ALIGNMENT, Bios, Contents, Data, Disk, DiskError, EfiFile, Format, Target};
use crate::kernel;
use crate::link::{self, EfiProgram, EfiRoot, Loading, Output, Payload, RootBytes, Session};
use crate::prepare;
use crate::root::RootInfo;
use crate::store::{CachedRoot, Digest, Store, StoreError};

/// A disk to be written.
pub(super) struct DiskFile {
    pub format: Format,
    pub path: PathBuf,
    pub output: Output,
}

/// Where the guest has its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RootPlace {
    /// In memory, where the firmware loads it
    Memory,
    /// On the disk, from which the guest reads it by a driver of its own
    Disk,
}

impl RootPlace {
    /// A small root is in memory, so that any disk will do that the firmware can read. A CD is never read by the guest.
    fn usual(root: u64, files: &[DiskFile]) -> Self {
        const SMALL: u64 = 64 << 20;
        let cd = files.iter().any(|file| file.format == Format::Iso);
        if root <= SMALL || cd { Self::Memory } else { Self::Disk }
    }
}

/// Writes a root as disks for `target`, all in one pass. They are whole, but not in place yet.
pub(super) fn write(
    root: &CachedRoot<RootInfo>,
    session: &Session,
    target: Option<Target>,
    size: Option<u64>,
    place: Option<RootPlace>,
    files: &[DiskFile],
    store: &Store,
) -> Result<(), Failure> {
    let manifest =
        Manifest { root: Root::Memory, channel: Channel::Console, ..link::manifest(&root.info, session)? };
    let open = || File::open(&root.image).map_err(StoreError::io("open", &root.image));
    prepare::check(open()?, 0, &manifest)?;

    let image = open()?;
    let len = image.metadata().map_err(StoreError::io("read", &root.image))?.len();
    // The kernel may be told the root's identifier, so that follows from what the kernel is told besides.
    let parts = [root.key, Digest::of(&manifest.encode()), Digest::of(kernel::FILE.elf)];
    let identity = Digest::of(&parts.map(|part| *part.as_bytes()).concat());
    let partition = disk::root_partition(identity, &[]).to_bytes_le();
    let (place, loaded, efi_root) = match place.unwrap_or_else(|| RootPlace::usual(len, files)) {
        RootPlace::Memory => {
            let root_len = u32::try_from(len).map_err(|_| DiskError::RootTooLarge { size: len })?;
            (Root::Memory, len, EfiRoot::Partition(partition, root_len))
        }
        RootPlace::Disk => (Root::Partition(PartitionId(partition)), 0, EfiRoot::Unloaded),
    };
    let manifest = Manifest { root: place, ..manifest };
    let (linked, loading) = without_root(&manifest, loaded, &root.info, store)?;
    let program = EfiProgram::new(&linked, &loading, efi_root)?;
    let contents = Contents {
        identity,
        root: &image,
        manifest: &[],
        efi: vec![EfiFile { path: "EFI/BOOT/BOOTX64.EFI", data: Data::from(program.bytes) }],
        bios: Some(Bios { kernel: program.kernel, loading }),
    };
    let rounding = target.map_or(ALIGNMENT, |target| target.platform().rounding);
    let disk = Disk::plan(contents, size, rounding)?;
    for file in files {
        file.output.check_room(disk.data()).map_err(|error| cannot_write(&file.path, &error))?;
    }
    let outputs: Vec<(Format, &File)> = files.iter().map(|file| (file.format, file.output.file())).collect();
    // No format that is offered describes its machine.
    let machine = target
        .unwrap_or(Target::Qemu)
        .machine(&session.hostname.clone().unwrap_or_else(|| "isopod".to_owned()), 256);
    disk::write(&disk, &machine, &outputs).map_err(|error| match error {
        DiskError::Write { format, source } => match files.iter().find(|file| file.format == format) {
            Some(file) => cannot_write(&file.path, &source),
            None => DiskError::Write { format, source }.into(),
        },
        other => other.into(),
    })
}

/// The kernel linked with all but its root of `len` bytes, and how that is loaded.
pub(super) fn without_root(
    manifest: &Manifest,
    len: u64,
    info: &RootInfo,
    store: &Store,
) -> Result<(Vec<u8>, Loading), Failure> {
    let file = store.temp()?;
    let payload =
        Payload { manifest: &manifest.encode(), root: RootBytes::Elsewhere(len), about: &describe(info)? };
    link::write(kernel::FILE, Some(&payload), file.as_file())?;
    let linked = std::fs::read(file.path()).map_err(StoreError::io("read", store.cache_dir()))?;
    let loading = link::loading(File::open(file.path()).map_err(StoreError::io("open", store.cache_dir()))?)?;
    Ok((linked, loading))
}
