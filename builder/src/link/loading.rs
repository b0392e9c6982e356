//! A linked image as a loader sees it that knows no ELF: what is copied where, and where to jump.

use std::fs::File;

use object::LittleEndian;
use object::elf;
use object::read::ReadCache;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

use super::LinkError;
use super::directory::{BootDirectory, ROOT, SECTION};
use super::kernel::SECTOR;

/// The type of the note that names the entry of PVH (Xen, `public/elfnote.h`).
const PHYS32_ENTRY: u32 = 18;
/// What is to be done with the file of an image whose root lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loading {
    /// Where PVH enters the kernel.
    pub entry: u32,
    /// What is copied from the file.
    pub segments: Vec<Segment>,
    /// Where the kernel reads where its root is: a word of 8 bytes.
    pub directory: u32,
    /// Where it says so now, behind all segments.
    pub root: u32,
    /// The first address behind everything, which is the root's where the kernel looks for that elsewhere.
    pub end: u32,
}

/// A part of the file that is copied into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file, a multiple of a sector.
    pub offset: u64,
    /// How long it is there.
    pub len: u32,
    /// Its physical address.
    pub to: u32,
    /// How many bytes behind it are zero.
    pub zero: u32,
}

/// Reads how the image in `file` is loaded.
///
/// # Errors
/// When the file cannot be read, or is not one that [`super::write`] wrote.
pub fn loading(file: File) -> Result<Loading, LinkError> {
    read(&ReadCache::new(file)).map_err(|what| LinkError::Kernel(what.to_owned()))
}

fn read(data: &ReadCache<File>) -> Result<Loading, &'static str> {
    let no_elf = |_| "it is no ELF";
    let header = elf::FileHeader64::<LittleEndian>::parse(data).map_err(no_elf)?;
    let (mut loads, mut segments) = (Vec::new(), Vec::new());
    let mut entry = None;
    for program in header.program_headers(LittleEndian, data).map_err(no_elf)? {
        if let Ok(Some(mut notes)) = program.notes(LittleEndian, data) {
            while let Ok(Some(note)) = notes.next() {
                let address = note.desc().first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                let is_entry =
                    note.n_type(LittleEndian) == elf::NoteType(PHYS32_ENTRY) && note.name() == b"Xen";
                entry = entry.or(address.filter(|_| is_entry));
            }
        }
        if program.p_type(LittleEndian) == elf::PT_LOAD {
            loads.push(program);
            segments
                .push(segment(program).ok_or("a segment does not begin with a sector, or lies above 4 GiB")?);
        }
    }
    let table = header.sections(LittleEndian, data).map_err(no_elf)?;
    let (_, section) = table.section_by_name(LittleEndian, SECTION).ok_or("it has no boot directory")?;
    let directory = section.data(LittleEndian, data).ok().and_then(BootDirectory::decode);
    let directory = directory.ok_or("its boot directory is empty")?;
    let at = section.sh_addr(LittleEndian);
    let place = loads.iter().find_map(|load| {
        let into = at.checked_sub(load.p_vaddr(LittleEndian))?;
        (into < load.p_memsz(LittleEndian)).then(|| load.p_paddr(LittleEndian) + into + ROOT)
    });
    let end = directory.root.start.checked_add(directory.root.length);
    Ok(Loading {
        entry: entry.ok_or("it has no entry for PVH")?,
        segments,
        directory: place.and_then(|at| at.try_into().ok()).ok_or("its boot directory is not loaded")?,
        root: directory.root.start.try_into().map_err(|_| "its root lies above 4 GiB")?,
        end: end.and_then(|end| end.try_into().ok()).ok_or("its root ends above 4 GiB")?,
    })
}

fn segment(program: &elf::ProgramHeader64<LittleEndian>) -> Option<Segment> {
    let (file, memory) = (program.p_filesz(LittleEndian), program.p_memsz(LittleEndian));
    let offset = program.p_offset(LittleEndian);
    Some(Segment {
        offset: Some(offset).filter(|offset| file == 0 || offset.is_multiple_of(SECTOR))?,
        len: file.try_into().ok()?,
        to: program.p_paddr(LittleEndian).try_into().ok()?,
        zero: memory.checked_sub(file)?.try_into().ok()?,
    })
}
