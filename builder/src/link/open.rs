//! A linked image, opened again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadRef};

use super::directory::{BootDirectory, SECTION};
use super::image::{ABOUT, MANIFEST, ROOT, SYMBOLS};
use super::symbols;

/// The largest description of an image that is read back, in bytes; `passwd` and `group` of an image are in it.
const MAX_ABOUT: u64 = 64 << 20;

/// What a linked image carries.
#[derive(Debug)]
pub struct Linked {
    /// The description it was linked with.
    pub about: Vec<u8>,
    /// The encoded manifest.
    pub manifest: Vec<u8>,
    /// Where the root starts in the file, and its length, in bytes.
    pub root: (u64, u64),
    /// The first guest-physical address behind everything that is loaded.
    pub end: u64,
}

/// Looks whether the file at `path` is an image that Isopod linked; `None` when it is anything else.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn open(path: &Path) -> io::Result<Option<Linked>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 4];
    if file.metadata()?.is_dir() || file.read(&mut magic)? < 4 || magic != elf::ELFMAG {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(read(&ReadCache::new(file)))
}

fn read<'a>(data: impl ReadRef<'a>) -> Option<Linked> {
    let header = elf::FileHeader64::<LittleEndian>::parse(data).ok()?;
    let table = header.sections(LittleEndian, data).ok()?;
    let section = |name: &[u8]| table.section_by_name(LittleEndian, name).map(|(_, section)| section);
    let bytes = |name: &[u8]| -> Option<&'a [u8]> {
        let section = section(name).filter(|section| section.sh_size(LittleEndian) <= MAX_ABOUT)?;
        section.data(LittleEndian, data).ok()
    };
    let directory = BootDirectory::decode(bytes(SECTION)?)?;
    let root = section(ROOT)?;
    let (start, size) = (root.sh_offset(LittleEndian), root.sh_size(LittleEndian));
    // A file that was cut short still has its headers.
    start.checked_add(size).filter(|&end| data.len().is_ok_and(|length| end <= length))?;
    Some(Linked {
        about: bytes(ABOUT)?.to_vec(),
        manifest: bytes(MANIFEST)?.to_vec(),
        root: (start, size),
        end: directory.root.start.checked_add(directory.root.length)?,
    })
}

/// The address of the kernel's function `name` in a file that Isopod linked, if there is one.
///
/// # Errors
/// When the file cannot be opened.
pub fn function(path: &Path, name: &str) -> io::Result<Option<u64>> {
    let data = &ReadCache::new(File::open(path)?);
    let find = || {
        let header = elf::FileHeader64::<LittleEndian>::parse(data).ok()?;
        let table = header.sections(LittleEndian, data).ok()?;
        let (_, section) = table.section_by_name(LittleEndian, SYMBOLS)?;
        symbols::find(section.data(LittleEndian, data).ok()?, name)
    };
    Ok(find())
}
