//! ISO 9660 with El Torito, laid over a disk: the volume's descriptors and directory lie in the space that the partition table leaves
//! free, and its files are the partitions. So the same file starts from a CD and, written to a stick, as a disk.
//!
//! Sectors of 2048 bytes, from byte 32 KiB on (ECMA-119; El Torito 1.0):
//!
//! ```text
//! 16 primary descriptor | 17 boot record | 18 end of descriptors | 19, 20 path tables | 21 boot catalog | 22..32 root directory
//! ```

use super::gpt::{Kind, Partition};
use super::layout::{Disk, STAGE};

/// Where the volume begins.
pub(super) const START: u64 = 16 * SECTOR;
/// The largest disk whose files have room in the directory.
pub(super) const LIMIT: u64 = 1 << 40;

const SECTOR: u64 = 2048;
const PATH_TABLES: [u64; 2] = [19, 20];
const CATALOG: u64 = 21;
const DIRECTORY: u64 = 22;
const DIRECTORY_END: u64 = STAGE / SECTOR;
/// The largest part of a file: its length has 32 bits, and parts but the last are whole sectors.
const PART: u64 = (1 << 32) - SECTOR;
/// What a BIOS loads, counted in sectors of a disk: a sector of the CD, which begins with the boot code.
const BIOS_LOADS: u16 = 4;

/// The volume for a disk, to be written at [`START`].
pub(super) fn volume(disk: &Disk<'_>) -> Vec<u8> {
    let mut bytes = vec![0; (STAGE - START) as usize];
    let mut put = |sector: u64, content: &[u8]| {
        bytes[(sector * SECTOR - START) as usize..][..content.len()].copy_from_slice(content);
    };
    let boots = boots(disk);
    put(16, &primary(disk));
    // The end of descriptors comes earlier where nothing can be started.
    let end = if boots.is_empty() { 17 } else { 18 };
    put(end, b"\xffCD001\x01");
    if !boots.is_empty() {
        put(17, &boot_record());
        put(CATALOG, &catalog(&boots));
    }
    put(PATH_TABLES[0], &path_table((DIRECTORY as u32).to_le_bytes(), 1u16.to_le_bytes()));
    put(PATH_TABLES[1], &path_table((DIRECTORY as u32).to_be_bytes(), 1u16.to_be_bytes()));
    put(DIRECTORY, &directory(disk));
    bytes
}

/// A number in both byte orders, as the descriptors have them.
fn both32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both16(value: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (value.to_le_bytes(), value.to_be_bytes());
    [a, b, c, d]
}

/// ECMA-119, 8.4.
fn primary(disk: &Disk<'_>) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR as usize];
    // Names that are not there are spaces: those of the system and the volume, and from 190 on of whoever made it and of files about it.
    bytes[8..72].fill(b' ');
    bytes[190..813].fill(b' ');
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"\x01CD001\x01");
    put(40, b"ISOPOD");
    put(80, &both32((disk.size() / SECTOR) as u32));
    put(120, &both16(1)); // volumes in the set
    put(124, &both16(1)); // which of them
    put(128, &both16(SECTOR as u16));
    put(132, &both32(PATH_TABLE_LEN));
    put(140, &(PATH_TABLES[0] as u32).to_le_bytes());
    put(148, &(PATH_TABLES[1] as u32).to_be_bytes());
    put(156, &record(b"\0", DIRECTORY, (DIRECTORY_END - DIRECTORY) * SECTOR, IS_DIRECTORY));
    for at in [813, 830, 847, 864] {
        put(at, &[b'0'; 16]); // no time: a zero for each digit, and for the zone
    }
    put(881, &[1]);
    bytes
}

const PATH_TABLE_LEN: u32 = 10;

/// The path table: the root alone, whose parent is itself.
fn path_table(place: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &place, &parent, &[0, 0]].concat()
}

const IS_DIRECTORY: u8 = 2;
/// Another part of the same file follows.
const CONTINUES: u8 = 0x80;

/// ECMA-119, 9.1.
fn record(name: &[u8], sector: u64, len: u64, flags: u8) -> Vec<u8> {
    let size = (33 + name.len()).next_multiple_of(2);
    let mut bytes = vec![0; size];
    bytes[0] = size as u8;
    bytes[2..10].copy_from_slice(&both32(sector as u32));
    bytes[10..18].copy_from_slice(&both32(len as u32));
    bytes[18..21].copy_from_slice(&[70, 1, 1]); // 1 January 1970
    bytes[25] = flags;
    bytes[28..32].copy_from_slice(&both16(1));
    bytes[32] = name.len() as u8;
    bytes[33..33 + name.len()].copy_from_slice(name);
    bytes
}

fn directory(disk: &Disk<'_>) -> Vec<u8> {
    let own = (DIRECTORY, (DIRECTORY_END - DIRECTORY) * SECTOR);
    let mut records =
        vec![record(b"\0", own.0, own.1, IS_DIRECTORY), record(b"\x01", own.0, own.1, IS_DIRECTORY)];
    // Sorted by name.
    records.push(record(b"BOOT.CAT;1", CATALOG, SECTOR, 0));
    for (kind, name) in [(Kind::Efi, b"EFI.IMG;1".as_slice()), (Kind::Root, b"ROOT.IMG;1")] {
        let Some(Partition { start, len, .. }) = disk.partition(kind) else { continue };
        let mut done = 0;
        while done < *len {
            let part = (len - done).min(PART);
            let flags = if done + part < *len { CONTINUES } else { 0 };
            records.push(record(name, (start + done) / SECTOR, part, flags));
            done += part;
        }
    }
    // No record crosses the border of a sector.
    let mut bytes: Vec<u8> = Vec::new();
    for record in records {
        let left = SECTOR as usize - bytes.len() % SECTOR as usize;
        if left < record.len() {
            bytes.resize(bytes.len() + left, 0);
        }
        bytes.extend(record);
    }
    bytes
}

fn boot_record() -> Vec<u8> {
    let mut bytes = vec![0; SECTOR as usize];
    bytes[..7].copy_from_slice(b"\0CD001\x01");
    bytes[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    bytes[71..75].copy_from_slice(&(CATALOG as u32).to_le_bytes());
    bytes
}

/// What can be started: for whom, how many sectors of 512 bytes are loaded, and from which sector.
struct Boot {
    platform: u8,
    sectors: u16,
    place: u64,
}

fn boots(disk: &Disk<'_>) -> Vec<Boot> {
    let bios = disk.partition(Kind::BiosBoot).map(|_| Boot { platform: 0, sectors: BIOS_LOADS, place: 0 });
    let efi = disk.partition(Kind::Efi).map(|partition| Boot {
        platform: 0xef,
        // What is too long to be counted goes to the end of the medium (UEFI specification, 13.3.2.1).
        sectors: u16::try_from(partition.len / 512).unwrap_or(0),
        place: partition.start / SECTOR,
    });
    bios.into_iter().chain(efi).collect()
}

/// El Torito 1.0, chapter 2.
fn catalog(boots: &[Boot]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, boot) in boots.iter().enumerate() {
        let head = &mut [0; 32];
        if number == 0 {
            head[0] = 1;
            head[1] = boot.platform;
            head[30..].copy_from_slice(&[0x55, 0xaa]);
            // All words together are zero.
            let sum = head
                .chunks_exact(2)
                .fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
            head[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
        } else {
            // A section of one entry: 0x91 says that it is the last.
            head[0] = if number + 1 == boots.len() { 0x91 } else { 0x90 };
            head[1] = boot.platform;
            head[2] = 1;
        }
        bytes.extend(*head);
        let mut entry = [0; 32];
        entry[0] = 0x88; // can be started; no disk is emulated
        entry[6..8].copy_from_slice(&boot.sectors.to_le_bytes());
        entry[8..12].copy_from_slice(&(boot.place as u32).to_le_bytes());
        bytes.extend(entry);
    }
    bytes
}
