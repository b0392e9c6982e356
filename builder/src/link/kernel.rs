//! The guest kernel's ELF, read as far as linking needs it.

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::write::elf::{FileHeader, ProgramHeader};

use super::LinkError;
use super::directory::{BootDirectory, SECTION, SIZE};

/// Boundary of segments in memory: a page of x86-64.
pub(super) const PAGE: u64 = 4096;

/// Boundary of segments in the file: what a BIOS reads.
pub(super) const SECTOR: u64 = 512;

/// How kernels store numbers.
pub(super) const ENDIAN: LittleEndian = LittleEndian;

/// The section of code that may be kept compressed.
const PACKED: &[u8] = b".packed";

/// A kernel's file, and what stands for a part of it.
#[derive(Debug, Clone, Copy)]
pub struct KernelFile<'a> {
    /// The ELF as the linker wrote it.
    pub elf: &'a [u8],
    /// Its section `.packed`, each page compressed, as `isopod_hal` reads it. When this is empty, the section is kept as it is.
    pub packed: &'a [u8],
}

/// A kernel to link with.
#[derive(Debug)]
pub(super) struct Kernel<'a> {
    pub data: &'a [u8],
    pub header: FileHeader,
    /// Its program headers, in their order.
    pub segments: Vec<ProgramHeader>,
    /// Its sections that are loaded, in their order.
    pub sections: Vec<Section<'a>>,
    /// Where its boot directory lies in `data`.
    pub directory: u64,
    /// The first physical address behind it, page aligned.
    pub end: u64,
}

/// A loaded section of the kernel.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub name: &'a [u8],
    pub header: object::write::elf::SectionHeader,
}

impl<'a> Kernel<'a> {
    /// Reads `file` and refuses what could not boot.
    pub fn parse(file: KernelFile<'a>) -> Result<Self, LinkError> {
        let data = file.elf;
        let bad = |error: object::Error| LinkError::Kernel(error.to_string());
        let raw = elf::FileHeader64::<LittleEndian>::parse(data).map_err(bad)?;
        if !raw.is_little_endian() || raw.e_machine(ENDIAN) != elf::EM_X86_64 {
            return Err(LinkError::Kernel("it is not for x86-64".to_owned()));
        }
        let header = FileHeader::from_raw(ENDIAN, raw);
        let raw_segments = raw.program_headers(ENDIAN, data).map_err(bad)?;
        let mut segments = Vec::new();
        for segment in raw_segments {
            // Also proves that the file holds every byte of it.
            segment.data(ENDIAN, data).map_err(|()| LinkError::Kernel("it is cut short".to_owned()))?;
            let alignment = segment.p_align(ENDIAN);
            if !alignment.is_power_of_two() || alignment > PAGE {
                return Err(LinkError::Kernel(format!("a segment is aligned to {alignment} bytes")));
            }
            segments.push(ProgramHeader::from_raw(ENDIAN, segment));
        }
        let table = raw.sections(ENDIAN, data).map_err(bad)?;
        let mut sections = Vec::new();
        let mut directory = None;
        for section in table.iter() {
            if !section.sh_flags(ENDIAN).contains(elf::SHF_ALLOC) {
                continue;
            }
            let name = table.section_name(ENDIAN, section).map_err(bad)?;
            if name == SECTION {
                BootDirectory::check_empty(section.data(ENDIAN, data).map_err(bad)?)?;
                directory = Some(section.sh_offset(ENDIAN));
            }
            let header = object::write::elf::SectionHeader::from_raw(ENDIAN, section);
            sections.push(Section { name, header });
        }
        let directory = directory
            .ok_or_else(|| LinkError::Kernel(format!("it has no section {}", SECTION.escape_ascii())))?;
        let end = loaded(&segments).map(|segment| segment.p_paddr.saturating_add(segment.p_memsz)).max();
        let end = end.and_then(|end| end.checked_next_multiple_of(PAGE));
        let end = end.ok_or_else(|| LinkError::Kernel("it has nothing to load".to_owned()))?;
        if !file.packed.is_empty() {
            // Its memory lies within the image and is filled by the kernel, so no loader needs to know of it.
            let (packed, kept) =
                sections.into_iter().partition::<Vec<_>, _>(|section| section.name == PACKED);
            sections = kept;
            segments.retain(|segment| packed.iter().all(|section| section.header.sh_addr != segment.p_vaddr));
        }
        let kernel = Self { data, header, segments, sections, directory, end };
        if !kernel.is_in_a_segment(directory, SIZE as u64) || !kernel.entry_is_loaded() {
            return Err(LinkError::Kernel(
                "its entry or boot directory is in no segment that is loaded".to_owned(),
            ));
        }
        Ok(kernel)
    }

    /// Whether one loaded segment holds the `length` bytes of the file that start at `offset`.
    fn is_in_a_segment(&self, offset: u64, length: u64) -> bool {
        loaded(&self.segments).any(|segment| {
            let into = offset.checked_sub(segment.p_offset);
            into.and_then(|into| into.checked_add(length)).is_some_and(|end| end <= segment.p_filesz)
        })
    }

    /// Loaders that enter by PVH look at `e_entry` too (the crate linux-loader, behind Firecracker and Cloud Hypervisor).
    fn entry_is_loaded(&self) -> bool {
        let entry = self.header.e_entry;
        loaded(&self.segments)
            .any(|s| [s.p_paddr, s.p_vaddr].iter().any(|start| entry >= *start && entry - start < s.p_memsz))
    }
}

/// The segments that a loader copies into memory.
pub(super) fn loaded(segments: &[ProgramHeader]) -> impl Iterator<Item = &ProgramHeader> {
    segments.iter().filter(|segment| segment.p_type == elf::PT_LOAD)
}
