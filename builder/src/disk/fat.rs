//! The EFI system partition: a FAT16 file system that holds a few files, each in one stretch
//! ([Microsoft's specification](https://download.microsoft.com/download/1/6/1/161ba512-40e2-4cc9-843a-923143f3456c/fatgen103.doc)).
//!
//! FAT16, because FAT32 has at least 65,525 clusters and so 32 MiB, which a disk for an application of one MiB need not have. The
//! UEFI specification (13.3) has firmware read all three sizes.

use std::collections::BTreeMap;

use super::DiskError;
use super::content::{Data, Piece};
use super::gpt::SECTOR;

/// FAT16 is what has at least 4,085 clusters and fewer than 65,525; some readers are off by a few.
const CLUSTERS_MIN: u64 = 4085 + 16;
const CLUSTERS_MAX: u64 = 65_524 - 16;
const CLUSTER_MAX: u64 = 32 << 10;
/// The root directory has a place of its own, for as many entries as is usual.
const ROOT_ENTRIES: u64 = 512;
const ENTRY: u64 = 32;
/// The first file begins at a multiple of this, so that whoever knows only sectors of 2048 bytes can read it.
const PAGE: u64 = 4096;
/// 1 January 1980, the first day that a directory can name.
const DATE: u16 = 1 << 5 | 1;
const END_OF_CHAIN: u16 = 0xffff;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;

/// A file on the partition.
#[derive(Debug, Clone)]
pub struct EfiFile<'a> {
    /// Its path, of names that FAT has room for without extensions: `EFI/BOOT/BOOTX64.EFI`.
    pub path: &'a str,
    /// Its bytes.
    pub data: Data<'a>,
}

/// A directory while its place is being found.
#[derive(Default)]
struct Directory {
    directories: BTreeMap<[u8; 11], Directory>,
    /// Each with its first cluster and its length.
    files: BTreeMap<[u8; 11], (u64, u64)>,
}

/// A file system that is planned.
#[derive(Debug)]
pub(super) struct Fat<'a> {
    /// How long it is.
    pub size: u64,
    /// Its bytes, at offsets from its beginning.
    pub pieces: Vec<Piece<'a>>,
    /// Where each file's bytes begin there.
    pub places: Vec<u64>,
}

/// What follows from the size of a cluster and the number of clusters.
struct Geometry {
    cluster: u64,
    sectors: u64,
    fat: u64,
    /// Bytes before the first table.
    reserved: u64,
}

impl Geometry {
    fn new(needed: u64, cluster: u64, alignment: u64) -> Self {
        let clusters = needed.max(CLUSTERS_MIN);
        // Two bytes for each cluster, and the two entries that stand for none.
        let fat = ((CLUSTERS_MAX + 2).min(clusters + alignment / cluster + 2) * 2).next_multiple_of(SECTOR);
        let head = 2 * fat + ROOT_ENTRIES * ENTRY;
        let data = (SECTOR + head).next_multiple_of(PAGE);
        let sectors = (data + clusters * cluster).next_multiple_of(alignment) / SECTOR;
        Self { cluster, sectors, fat, reserved: data - head }
    }

    /// Where the data of a cluster begins; the first has the number 2.
    fn offset(&self, cluster: u64) -> u64 {
        self.root() + ROOT_ENTRIES * ENTRY + (cluster - 2) * self.cluster
    }

    fn root(&self) -> u64 {
        self.reserved + 2 * self.fat
    }

    /// Clusters that fit behind the head, whether the files need them or not.
    fn clusters(&self) -> u64 {
        (self.sectors * SECTOR - self.offset(2)) / self.cluster
    }
}

impl<'a> Fat<'a> {
    /// A file system with `files`, whose size is a multiple of `alignment` and which begins at the byte `start` of the disk.
    /// `serial` tells it from others.
    ///
    /// # Errors
    /// A name that FAT has no room for, or more bytes than FAT16.
    pub fn plan(files: &[EfiFile<'a>], serial: u32, start: u64, alignment: u64) -> Result<Self, DiskError> {
        let names = files.iter().map(|file| parts(file.path)).collect::<Result<Vec<_>, _>>()?;
        let (mut cluster, mut geometry) = (SECTOR, None);
        while geometry.is_none() {
            if cluster > CLUSTER_MAX {
                let needed = files.iter().map(|file| file.data.len()).sum();
                return Err(DiskError::EfiTooLarge { needed, limit: CLUSTERS_MAX * CLUSTER_MAX });
            }
            let data: u64 = files.iter().map(|file| file.data.len().div_ceil(cluster)).sum();
            // No directory has more entries than there are names, and two for itself and its parent.
            let entries: u64 = names.iter().map(|parts| parts.len() as u64).sum();
            let directories = entries * ((entries + 2) * ENTRY).div_ceil(cluster);
            let tried = Geometry::new(data + directories, cluster, alignment);
            geometry = Some(tried).filter(|tried| tried.clusters() <= CLUSTERS_MAX);
            cluster *= 2;
        }
        let geometry = geometry.expect("the loop ended with one");
        let mut fat = Writer {
            table: vec![0xfff8, END_OF_CHAIN],
            pieces: vec![Piece { offset: 0, data: Data::from(boot_sector(&geometry, serial, start)) }],
            geometry,
        };
        let mut root = Directory::default();
        let mut places = Vec::new();
        for (file, parts) in files.iter().zip(names) {
            let first = fat.place(file.data.clone());
            places.push(if first == 0 { 0 } else { fat.geometry.offset(first) });
            let (name, above) = parts.split_last().expect("a path has a last part");
            let mut directory = &mut root;
            for part in above {
                directory = directory.directories.entry(*part).or_default();
            }
            directory.files.insert(*name, (first, file.data.len()));
        }
        Ok(fat.finish(&root, places))
    }
}

struct Writer<'a> {
    geometry: Geometry,
    /// What follows each cluster.
    table: Vec<u16>,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Writer<'a> {
    /// Gives `data` the next clusters; their first number, or 0 for none.
    fn place(&mut self, data: Data<'a>) -> u64 {
        let clusters = data.len().div_ceil(self.geometry.cluster);
        if clusters == 0 {
            return 0;
        }
        let first = self.table.len() as u64;
        self.table.extend((first + 1..first + clusters).map(|next| next as u16));
        self.table.push(END_OF_CHAIN);
        self.pieces.push(Piece { offset: self.geometry.offset(first), data });
        first
    }

    /// Places a directory and all below it, and returns its first cluster; those above it are `parents`.
    fn directory(&mut self, directory: &Directory, parent: u64) -> u64 {
        // Its own number must be known to those below, and theirs to it: its place is taken first.
        let entries = 2 + directory.directories.len() + directory.files.len();
        let first = self.place(Data::from(vec![0; entries * ENTRY as usize]));
        let at = self.pieces.len() - 1;
        let mut bytes = entry(b".          ", DIRECTORY, first, 0).to_vec();
        bytes.extend(entry(b"..         ", DIRECTORY, parent, 0));
        bytes.extend(self.entries(directory, first));
        self.pieces[at].data = Data::from(bytes);
        first
    }

    fn entries(&mut self, directory: &Directory, own: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, below) in &directory.directories {
            let first = self.directory(below, own);
            bytes.extend(entry(name, DIRECTORY, first, 0));
        }
        for (name, &(first, len)) in &directory.files {
            bytes.extend(entry(name, ARCHIVE, first, len));
        }
        bytes
    }

    fn finish(mut self, root: &Directory, places: Vec<u64>) -> Fat<'a> {
        let mut entries = entry(b"ISOPOD     ", 0x08, 0, 0).to_vec();
        entries.extend(self.entries(root, 0));
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let copies = [self.geometry.reserved, self.geometry.reserved + self.geometry.fat];
        self.pieces.extend(copies.map(|offset| Piece { offset, data: Data::from(table.clone()) }));
        self.pieces.push(Piece { offset: self.geometry.root(), data: Data::from(entries) });
        Fat { size: self.geometry.sectors * SECTOR, pieces: self.pieces, places }
    }
}

fn boot_sector(geometry: &Geometry, serial: u32, start: u64) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    // A jump to `int 18h`, which has a BIOS try the next disk: nobody boots this partition by its first sector.
    put(0, &[0xeb, 0x3c, 0x90]);
    put(0x3e, &[0xcd, 0x18]);
    put(3, b"ISOPOD  ");
    put(11, &(SECTOR as u16).to_le_bytes());
    put(13, &[(geometry.cluster / SECTOR) as u8]);
    put(14, &((geometry.reserved / SECTOR) as u16).to_le_bytes()); // this sector, and what aligns the first file
    put(16, &[2]); // copies of the table
    put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
    match u16::try_from(geometry.sectors) {
        Ok(sectors) => put(19, &sectors.to_le_bytes()),
        Err(_) => put(32, &(geometry.sectors as u32).to_le_bytes()),
    }
    put(21, &[0xf8]); // a disk that stays in its drive
    put(22, &((geometry.fat / SECTOR) as u16).to_le_bytes());
    put(24, &63u16.to_le_bytes());
    put(26, &255u16.to_le_bytes());
    put(28, &((start / SECTOR) as u32).to_le_bytes());
    put(36, &[0x80, 0, 0x29]);
    put(39, &serial.to_le_bytes());
    put(43, b"ISOPOD     FAT16   ");
    put(510, &[0x55, 0xaa]);
    bytes
}

fn entry(name: &[u8; 11], attributes: u8, first: u64, len: u64) -> [u8; ENTRY as usize] {
    let mut bytes = [0; ENTRY as usize];
    bytes[..11].copy_from_slice(name);
    bytes[11] = attributes;
    for at in [16, 18, 24] {
        bytes[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    bytes[26..28].copy_from_slice(&(first as u16).to_le_bytes());
    bytes[28..].copy_from_slice(&(len as u32).to_le_bytes());
    bytes
}

/// The parts of a path as directories store them: eight bytes and an extension of three.
fn parts(path: &str) -> Result<Vec<[u8; 11]>, DiskError> {
    path.split('/').map(|part| short(part).ok_or_else(|| DiskError::EfiName(path.to_owned()))).collect()
}

fn short(part: &str) -> Option<[u8; 11]> {
    let (name, extension) = part.split_once('.').unwrap_or((part, ""));
    let known = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"_-$~!#".contains(&c);
    let fits = (1..=8).contains(&name.len()) && extension.len() <= 3;
    if !fits || !name.bytes().chain(extension.bytes()).all(known) {
        return None;
    }
    let mut bytes = [b' '; 11];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    Some(bytes)
}
