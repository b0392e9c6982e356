//! What the loader needs to know of an ELF file: `elf(5)`.
//!
//! Everything comes from a file that anybody may have written; every number is checked before it is used, and refused with the error
//! that `fs/binfmt_elf.c` gives.

use alloc::vec::Vec;

use elf::abi::{
    ELFMAGIC, EM_X86_64, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR,
};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader};
use elf::parse::ParsingTable;
use elf::segment::ProgramHeader;
use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::{Access, USER_END};

use crate::mm::{page_down, page_up};
use crate::syscall::PATH_MAX;

/// How many bytes of the file must be there to begin with: the identification and the 64-bit header.
pub const HEADER_SIZE: usize = 64;
/// Bytes of a program header.
const PROGRAM_HEADER_SIZE: u16 = 56;
/// The most bytes of program headers (`fs/binfmt_elf.c`, `load_elf_phdrs`).
const MAX_HEADERS: usize = 65_536;
/// The end of the last page of the largest file.
const LAST_OFFSET: u64 = i64::MAX as u64 & !(PAGE_SIZE as u64 - 1);
/// An alignment beyond this cannot be meant: the program is loaded without it, as Linux does where there is no room.
const MAX_ALIGNMENT: u64 = USER_END as u64 / 4;
/// Bytes of the ELF identification.
const IDENT: usize = 16;

/// The fixed header.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Where the program begins, before relocation.
    pub entry: u64,
    /// It may be loaded anywhere.
    pub relocatable: bool,
    /// Where the program headers are in the file.
    pub headers_offset: u64,
    /// How many there are.
    pub headers_count: u16,
}

/// A part of the file that goes into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First address, before relocation.
    pub address: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// Where in the file.
    pub offset: u64,
    /// Bytes in the file; the rest is zeros.
    pub file_size: u64,
    /// What the program may do with it.
    pub access: Access,
    /// Required alignment, a power of two, at least a page.
    pub alignment: u64,
}

/// What the program headers say.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// What to load, in the order of the file; never empty.
    pub segments: Vec<Segment>,
    /// Where in the file the interpreter's path is, and its length with the terminating NUL.
    pub interpreter: Option<(u64, usize)>,
    /// The stack may be executed; without a `PT_GNU_STACK` header it may not here, W^X being the rule.
    pub executable_stack: bool,
    /// Address of the program headers in memory, before relocation.
    pub headers_address: Option<u64>,
}

/// Reads the fixed header. `ENOEXEC` for whatever this machine cannot run.
pub fn parse_header(bytes: &[u8]) -> Result<Header, Errno> {
    let (ident, tail) = bytes.get(..HEADER_SIZE).ok_or(Errno::ENOEXEC)?.split_at(IDENT);
    if !ident.starts_with(&ELFMAGIC) {
        return Err(Errno::ENOEXEC);
    }
    // Linux looks at nothing else of the identification, nor does this: the machine tells class and order.
    let ident = (LittleEndian, Class::ELF64, 0, 0);
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| Errno::ENOEXEC)?;
    let runnable = header.e_machine == EM_X86_64
        && matches!(header.e_type, ET_EXEC | ET_DYN)
        && header.e_phentsize == PROGRAM_HEADER_SIZE
        && header.e_phnum != 0
        && usize::from(header.e_phnum) * usize::from(PROGRAM_HEADER_SIZE) <= MAX_HEADERS;
    if !runnable {
        return Err(Errno::ENOEXEC);
    }
    Ok(Header {
        entry: header.e_entry,
        relocatable: header.e_type == ET_DYN,
        headers_offset: header.e_phoff,
        headers_count: header.e_phnum,
    })
}

impl Header {
    /// Bytes of all program headers.
    pub fn headers_size(&self) -> usize {
        usize::from(self.headers_count) * usize::from(PROGRAM_HEADER_SIZE)
    }
}

/// Reads the program headers from their bytes.
pub fn parse_layout(header: &Header, bytes: &[u8]) -> Result<Layout, Errno> {
    let table = ParsingTable::<LittleEndian, ProgramHeader>::new(LittleEndian, Class::ELF64, bytes);
    let mut layout = Layout::default();
    for entry in table.iter() {
        match entry.p_type {
            PT_LOAD if entry.p_memsz != 0 => {
                layout.segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                layout.segments.push(segment(&entry)?);
            }
            PT_INTERP if layout.interpreter.is_none() => {
                // A path with at least one character, and its NUL.
                let length = usize::try_from(entry.p_filesz).map_err(|_| Errno::ENOEXEC)?;
                if !(2..=PATH_MAX).contains(&length) {
                    return Err(Errno::ENOEXEC);
                }
                layout.interpreter = Some((entry.p_offset, length));
            }
            PT_GNU_STACK => layout.executable_stack = entry.p_flags & PF_X != 0,
            PT_PHDR => layout.headers_address = Some(entry.p_vaddr),
            _ => {}
        }
    }
    if layout.segments.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    layout.headers_address = layout.headers_address.or_else(|| layout.find_headers(header));
    Ok(layout)
}

fn segment(entry: &ProgramHeader) -> Result<Segment, Errno> {
    let page = PAGE_SIZE as u64;
    let end = entry.p_vaddr.checked_add(entry.p_memsz).ok_or(Errno::ENOEXEC)?;
    let file_end = entry.p_offset.checked_add(entry.p_filesz).ok_or(Errno::ENOEXEC)?;
    let sound = entry.p_filesz <= entry.p_memsz
        && end <= USER_END as u64
        && file_end <= LAST_OFFSET
        && entry.p_vaddr % page == entry.p_offset % page;
    if !sound {
        return Err(Errno::EINVAL);
    }
    let mut access = Access::empty();
    access.set(Access::READ, entry.p_flags & (PF_R | PF_W | PF_X) != 0);
    access.set(Access::WRITE, entry.p_flags & PF_W != 0);
    access.set(Access::EXEC, entry.p_flags & PF_X != 0);
    let alignment = if entry.p_align.is_power_of_two() && entry.p_align <= MAX_ALIGNMENT {
        entry.p_align.max(page)
    } else {
        page
    };
    Ok(Segment {
        address: entry.p_vaddr,
        memory_size: entry.p_memsz,
        offset: entry.p_offset,
        file_size: entry.p_filesz,
        access,
        alignment,
    })
}

impl Layout {
    /// Where the program headers are in memory: in the segment that holds their part of the file.
    fn find_headers(&self, header: &Header) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| {
                header.headers_offset >= segment.offset
                    && header.headers_offset - segment.offset < segment.file_size
            })
            .map(|segment| segment.address + (header.headers_offset - segment.offset))
    }

    /// First and last page address of the whole program: `None` when that is more than the user half.
    pub fn span(&self) -> Option<(usize, usize)> {
        let start = self.segments.iter().map(|segment| segment.address).min()?;
        let end = self.segments.iter().map(|segment| segment.address + segment.memory_size).max()?;
        Some((page_down(start as usize), page_up(end as usize)?))
    }

    /// The largest alignment any segment wants.
    pub fn alignment(&self) -> usize {
        self.segments.iter().map(|segment| segment.alignment as usize).max().unwrap_or(PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(machine: u16, kind: u16) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[20] = 1;
        bytes[24..32].copy_from_slice(&0x40_1000u64.to_le_bytes());
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes
    }

    fn load(address: u64, offset: u64, file: u64, memory: u64) -> [u8; 56] {
        let mut bytes = [0; 56];
        bytes[..4].copy_from_slice(&1u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&5u32.to_le_bytes());
        for (at, value) in [(8, offset), (16, address), (32, file), (40, memory), (48, 0x1000)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn reads_a_static_program() {
        let found = parse_header(&header(62, 2)).unwrap();
        assert!(!found.relocatable);
        let layout = parse_layout(&found, &load(0x40_0000, 0, 0x2000, 0x3000)).unwrap();
        assert_eq!(layout.span(), Some((0x40_0000, 0x40_3000)));
        assert_eq!(layout.headers_address, Some(0x40_0040));
    }

    #[test]
    fn refuses_other_machines_and_kinds() {
        assert_eq!(parse_header(&header(183, 2)).unwrap_err(), Errno::ENOEXEC);
        assert_eq!(parse_header(&header(62, 1)).unwrap_err(), Errno::ENOEXEC);
        assert_eq!(parse_header(b"#!/bin/sh\n").unwrap_err(), Errno::ENOEXEC);
    }

    #[test]
    fn refuses_segments_that_lie() {
        let found = parse_header(&header(62, 2)).unwrap();
        for bad in [
            load(u64::MAX - 0xfff, 0, 0x1000, 0x1000),
            load(0x40_0000, 0, 0x2000, 0x1000),
            load(0x40_0000, 0x10, 0x1000, 0x1000),
            load(0x40_0000, u64::MAX - 0xfff, 0x1000, 0x1000),
        ] {
            assert!(parse_layout(&found, &bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), headers in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut start = header(62, 3);
            let overlap = bytes.len().min(40);
            start[24..24 + overlap.min(40)].copy_from_slice(&bytes[..overlap]);
            if let Ok(found) = parse_header(&start)
                && let Ok(layout) = parse_layout(&found, &headers)
            {
                let _ = (layout.span(), layout.alignment());
            }
        }
    }
}
