//! The partition table: a protective MBR, and a GUID partition table at both ends of the disk (UEFI specification 2.10, chapter 5).

use flate2::Crc;
use uuid::{Uuid, uuid};

use super::content::{Data, Piece};

/// Bytes in a logical block.
pub(super) const SECTOR: u64 = 512;
/// Bytes that each copy of the table takes: a header, and 128 entries of 128 bytes, the least that there must be room for.
const ENTRIES: u64 = 128;
const ENTRY: u64 = 128;
const TABLE: u64 = ENTRIES * ENTRY;
/// The first byte behind the table at the disk's beginning, where the MBR stands before it.
pub(super) const BEGIN: u64 = 2 * SECTOR + TABLE;
/// Bytes that the table takes at the disk's end.
pub(super) const END: u64 = SECTOR + TABLE;
/// Bytes of an MBR that boot code may have: behind them are the disk's signature and the partitions.
pub(super) const BOOT_CODE: usize = 440;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Code that a BIOS loads, [as GRUB has it](https://www.gnu.org/software/grub/manual/grub/html_node/BIOS-installation.html).
    BiosBoot,
    /// The EFI system partition.
    Efi,
    /// A root of Linux for x86-64, [as discoverable
    /// partitions](https://uapi-group.org/specifications/specs/discoverable_partitions_specification/) name it.
    Root,
}

impl Kind {
    fn uuid(self) -> Uuid {
        match self {
            Self::BiosBoot => uuid!("21686148-6449-6e6f-744e-656564454649"),
            Self::Efi => uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            Self::Root => uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        }
    }
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub kind: Kind,
    /// Its own identifier.
    pub id: Uuid,
    /// Its name, of at most 36 characters.
    pub name: &'static str,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// The tables of a disk of `size` bytes with the identifier `disk`, and its MBR with `boot_code`.
pub(super) fn pieces(
    disk: Uuid,
    size: u64,
    partitions: &[Partition],
    boot_code: &[u8; BOOT_CODE],
) -> [Piece<'static>; 2] {
    let entries = entries(partitions);
    let last = size / SECTOR - 1;
    let header = |own, other, table| header(disk, last, own, other, table, &entries);
    let first = [&mbr(disk, last, boot_code)[..], &header(1, last, 2), &entries].concat();
    let second = [&entries[..], &header(last, 1, last - TABLE / SECTOR)].concat();
    [Piece { offset: 0, data: Data::from(first) }, Piece { offset: size - END, data: Data::from(second) }]
}

fn entries(partitions: &[Partition]) -> Vec<u8> {
    let mut bytes = vec![0; TABLE as usize];
    for (entry, partition) in bytes.chunks_exact_mut(ENTRY as usize).zip(partitions) {
        entry[..16].copy_from_slice(&partition.kind.uuid().to_bytes_le());
        entry[16..32].copy_from_slice(&partition.id.to_bytes_le());
        let first = partition.start / SECTOR;
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + partition.len / SECTOR - 1).to_le_bytes());
        for (unit, place) in partition.name.encode_utf16().zip(entry[56..].chunks_exact_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    bytes
}

fn header(disk: Uuid, last: u64, own: u64, other: u64, table: u64, entries: &[u8]) -> [u8; SECTOR as usize] {
    const SIZE: usize = 92;
    let mut bytes = [0; SECTOR as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"EFI PART");
    put(8, &0x0001_0000u32.to_le_bytes());
    put(12, &(SIZE as u32).to_le_bytes());
    put(24, &own.to_le_bytes());
    put(32, &other.to_le_bytes());
    put(40, &(BEGIN / SECTOR).to_le_bytes());
    put(48, &(last - END / SECTOR).to_le_bytes());
    put(56, &disk.to_bytes_le());
    put(72, &table.to_le_bytes());
    put(80, &(ENTRIES as u32).to_le_bytes());
    put(84, &(ENTRY as u32).to_le_bytes());
    put(88, &crc(entries).to_le_bytes());
    let sum = crc(&bytes[..SIZE]);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// One partition over the whole disk keeps programs that know no GPT away from it. It is not marked as active: firmware that looks for
/// that takes the disk for one without a GPT.
fn mbr(disk: Uuid, last: u64, boot_code: &[u8; BOOT_CODE]) -> [u8; SECTOR as usize] {
    let mut bytes = [0; SECTOR as usize];
    bytes[..BOOT_CODE].copy_from_slice(boot_code);
    bytes[440..444].copy_from_slice(&disk.as_bytes()[..4]);
    let partition = &mut bytes[446..462];
    partition[1..4].copy_from_slice(&[0, 2, 0]);
    partition[4] = 0xee;
    partition[5..8].copy_from_slice(&[0xff; 3]);
    partition[8..12].copy_from_slice(&1u32.to_le_bytes());
    partition[12..16].copy_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
