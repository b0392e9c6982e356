//! Applications as disks that a BIOS starts.

use std::fs::File;
use std::path::PathBuf;

use isopod_manifest::{Channel, Manifest, Root};

use super::Failure;
use super::build::{cannot_write, describe};
use crate::disk::{self, ALIGNMENT, Bios, Contents, Data, Disk, DiskError, Format, Target};
use crate::kernel;
use crate::link::{self, Output, Payload, RootBytes, Session};
use crate::prepare;
use crate::root::RootInfo;
use crate::store::{CachedRoot, Digest, Store, StoreError};

/// A disk to be written.
pub(super) struct DiskFile {
    pub format: Format,
    pub path: PathBuf,
    pub output: Output,
}

/// Writes a root as disks for `target`, all in one pass. They are whole, but not in place yet.
pub(super) fn write(
    root: &CachedRoot<RootInfo>,
    session: &Session,
    target: Option<Target>,
    size: Option<u64>,
    files: &[DiskFile],
    store: &Store,
) -> Result<(), Failure> {
    let manifest =
        Manifest { root: Root::Memory, channel: Channel::Console, ..link::manifest(&root.info, session)? };
    let open = || File::open(&root.image).map_err(StoreError::io("open", &root.image));
    prepare::check(open()?, 0, &manifest)?;

    // The kernel with all but the root, which has a partition of its own and is loaded from there.
    let image = open()?;
    let kernel = store.temp()?;
    let len = image.metadata().map_err(StoreError::io("read", &root.image))?.len();
    let payload = Payload {
        manifest: &manifest.encode(),
        root: RootBytes::Elsewhere(len),
        about: &describe(&root.info)?,
    };
    link::write(kernel::FILE, Some(&payload), kernel.as_file())?;
    let linked = std::fs::read(kernel.path()).map_err(StoreError::io("read", kernel.path()))?;
    let loading = link::loading(kernel.reopen().map_err(StoreError::io("open", kernel.path()))?)?;

    let contents = Contents {
        identity: Digest::of(&[&root.key.as_bytes()[..], Digest::of(&linked).as_bytes()].concat()),
        root: &image,
        manifest: &[],
        efi: Vec::new(),
        bios: Some(Bios { kernel: Data::from(linked), loading }),
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
