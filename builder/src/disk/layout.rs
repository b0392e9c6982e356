//! What lies where on a disk.
//!
//! ```text
//! 0            protective MBR with boot code, the GPT
//! 32 KiB       left free: an ISO 9660 volume begins there, where the disk is written as one
//! 64 KiB       partition `isopod-stage`: what the boot code loads, where there is any
//! 1 MiB        partition `isopod-efi`: FAT with the program that UEFI firmware loads, in which is the kernel that the stage loads
//! ..           partition `isopod-root`: the EROFS image, and the manifest at the next multiple of 4 KiB
//! end          the GPT once more
//! ```
//!
//! Every identifier follows from what is on the disk, so the same contents give the same bytes.

use std::fs::File;
use std::io;

use uuid::{Builder, Uuid};

use super::DiskError;
use super::bios;
use super::content::{Bytes, Data, Piece};
use super::fat::{EfiFile, Fat};
use super::gpt::{self, BOOT_CODE, Kind, Partition};
use crate::link::Loading;
use crate::root::erofs;
use crate::store::Digest;

/// What the beginnings of partitions and the size of the disk are multiples of.
pub const ALIGNMENT: u64 = 1 << 20;
/// Where the stage begins.
pub(super) const STAGE: u64 = 64 << 10;
const ROOT: &str = "isopod-root";

/// What goes onto a disk.
#[derive(Debug)]
pub struct Contents<'a> {
    /// Stands for the root's bytes: the identifiers are derived from it.
    pub identity: Digest,
    /// The EROFS image.
    pub root: &'a File,
    /// The encoded manifest.
    pub manifest: &'a [u8],
    /// What UEFI firmware finds.
    pub efi: Vec<EfiFile<'a>>,
    /// What a BIOS starts.
    pub bios: Option<Bios>,
}

/// The kernel for a BIOS.
#[derive(Debug)]
pub struct Bios {
    /// Where its image begins in the first file for UEFI, in whole sectors of a CD.
    pub kernel: u64,
    /// How it is loaded.
    pub loading: Loading,
}

/// The identifier of the partition with the root, of contents that have this identity and manifest.
pub fn root_partition(identity: Digest, manifest: &[u8]) -> Uuid {
    Ids::new(identity, manifest).uuid(ROOT)
}

/// A disk whose layout is decided.
#[derive(Debug)]
pub struct Disk<'a> {
    pub(super) bytes: Bytes<'a>,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Partition>,
}

impl<'a> Disk<'a> {
    /// Decides where `contents` lie, on a disk of `size` bytes, or as many as are needed.
    /// The size is a multiple of `rounding`, itself a multiple of [`ALIGNMENT`].
    ///
    /// # Errors
    /// [`DiskError::TooSmall`] where they need more, and what is wrong with the files for UEFI or with the root.
    pub fn plan(contents: Contents<'a>, size: Option<u64>, rounding: u64) -> Result<Self, DiskError> {
        let Contents { identity, root, manifest, efi, bios } = contents;
        let ids = Ids::new(identity, manifest);
        let mut boot_code = [0; BOOT_CODE];
        let mut partitions = Vec::new();
        let mut pieces = Vec::new();
        let mut next = ALIGNMENT;
        let mut program = 0;
        if !efi.is_empty() {
            let fat = Fat::plan(&efi, ids.serial(), next, ALIGNMENT)?;
            partitions.push(ids.partition(Kind::Efi, "isopod-efi", next, fat.size));
            pieces.extend(fat.pieces.into_iter().map(|piece| Piece { offset: next + piece.offset, ..piece }));
            // The first file begins at a page, as the stage needs it.
            program = next + fat.places.first().copied().unwrap_or(0);
            next += fat.size;
        }
        let root_len = root_size(root).map_err(DiskError::Read)?;
        let behind = next + root_len.next_multiple_of(erofs::BLOCK);
        let end = behind + (manifest.len() as u64).next_multiple_of(erofs::BLOCK);
        pieces.push(Piece { offset: next, data: Data::File { file: root, start: 0, len: root_len } });
        pieces.push(Piece { offset: behind, data: Data::Bytes(manifest.into()) });
        partitions.push(ids.partition(Kind::Root, ROOT, next, end - next));
        if let Some(Bios { kernel, loading }) = bios {
            boot_code = bios::boot_code();
            let stage = bios::stage(&loading, program + kernel, next, root_len);
            let stage = stage.ok_or(DiskError::RootTooLarge { size: root_len })?;
            partitions.insert(0, ids.partition(Kind::BiosBoot, "isopod-stage", STAGE, stage.len() as u64));
            pieces.push(Piece { offset: STAGE, data: Data::from(stage) });
        }

        let needed = (end + gpt::END).next_multiple_of(ALIGNMENT);
        let asked = size.unwrap_or(needed);
        if asked < needed {
            return Err(DiskError::TooSmall { needed, asked });
        }
        let size = asked.next_multiple_of(rounding);
        let id = ids.uuid("disk");
        pieces.extend(gpt::pieces(id, size, &partitions, &boot_code));
        Ok(Self { bytes: Bytes::new(size, pieces), id, partitions })
    }

    /// How large the machine finds it, in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.map().size()
    }

    /// How many bytes of it hold data, in steps of 64 KiB.
    pub fn data(&self) -> u64 {
        self.bytes.map().data()
    }

    /// Its partitions, in order.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition of a kind, if there is one.
    pub(super) fn partition(&self, kind: Kind) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.kind == kind)
    }
}

/// The root's length, which must be whole blocks of a file system.
fn root_size(root: &File) -> io::Result<u64> {
    let len = root.metadata()?.len();
    if len == 0 || !len.is_multiple_of(erofs::BLOCK) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the root is not a whole file system"));
    }
    Ok(len)
}

/// Identifiers that follow from contents.
struct Ids(Digest);

impl Ids {
    fn new(identity: Digest, manifest: &[u8]) -> Self {
        Self(Digest::of(&[&identity.as_bytes()[..], Digest::of(manifest).as_bytes()].concat()))
    }

    fn uuid(&self, name: &str) -> Uuid {
        derived(self.0.as_bytes(), name)
    }

    /// What tells the FAT file system from others.
    fn serial(&self) -> u32 {
        self.uuid("fat").as_fields().0
    }

    fn partition(&self, kind: Kind, name: &'static str, start: u64, len: u64) -> Partition {
        Partition { kind, id: self.uuid(name), name, start, len }
    }
}

/// An identifier that follows from another and a name: of version 8, which is for such (RFC 9562, 5.8).
pub(super) fn derived(from: &[u8], name: &str) -> Uuid {
    let digest = Digest::of(&[from, name.as_bytes()].concat());
    let (bytes, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    Builder::from_custom_bytes(*bytes).into_uuid()
}
