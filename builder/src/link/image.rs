//! Kernel, manifest and root joined into one ELF that a hypervisor boots directly.
//!
//! ```text
//! ELF header, program headers
//! the kernel's segments                  at the kernel's own addresses
//! section names and section headers
//! .isopod.image                          not loaded: where the root came from, for `isopod run FILE`
//! .isopod.packed                         code of the kernel that is kept compressed, loaded behind it
//! .isopod.symbols                        names of the kernel's functions, loaded behind that
//! .isopod.manifest                       loaded behind them
//! .isopod.root                           loaded behind the manifest, to the end of the file
//! ```
//!
//! What is loaded is page aligned in memory, and the root, which can be mapped, in the file too. The root comes last so that it is copied from file to file and never held in memory. The PVH note,
//! the entry point and every other program header are the kernel's.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};

use object::Endianness;
use object::elf;
use object::write::StreamingBuffer;
use object::write::elf::{ProgramHeader, SectionHeader, Writer};

use super::LinkError;
use super::directory::{BootDirectory, Extent, SIZE};
use super::kernel::{Kernel, KernelFile, PAGE, SECTOR, Section, loaded};
use super::symbols;
use crate::root::{RootError, erofs};

/// The section that describes the image to Isopod itself. Not loaded.
pub(super) const ABOUT: &[u8] = b".isopod.image";
/// The section that is the kernel's packed code.
const PACKED: &[u8] = b".isopod.packed";
/// The section that is the kernel's symbol table.
pub(super) const SYMBOLS: &[u8] = b".isopod.symbols";
/// The section that is the manifest.
pub(super) const MANIFEST: &[u8] = b".isopod.manifest";
/// The section that is the root.
pub(super) const ROOT: &[u8] = b".isopod.root";

/// The highest address a linked image may reach. Loaders place segments below the hole that devices have under 4 GiB; QEMU's q35
/// starts it at 2 GiB (`hw/i386/pc_q35.c`), the lowest of the machines supported.
pub const LIMIT: u64 = 2 << 30;

/// What is joined with a kernel.
#[derive(Debug)]
pub struct Payload<'a> {
    /// The encoded manifest.
    pub manifest: &'a [u8],
    /// The EROFS image.
    pub root: RootBytes<'a>,
    /// What `isopod run FILE` wants to know of the image, in a section that is not loaded.
    pub about: &'a [u8],
}

/// Where the bytes of a root come from.
#[derive(Debug)]
pub enum RootBytes<'a> {
    /// A finished one, read from its start.
    File(&'a File),
    /// A tree, of which it is written now. The bytes are the same.
    Tree(&'a erofs::Image<'a>),
    /// Not in the file: whoever loads it finds so many bytes elsewhere, and puts them where the kernel looks for its root.
    Elsewhere(u64),
}

impl RootBytes<'_> {
    /// How many bytes there are.
    ///
    /// # Errors
    /// When the file does not tell.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Tree(image) => Ok(image.size()),
            Self::Elsewhere(size) => Ok(*size),
        }
    }

    /// Writes the `len` bytes behind what `out` holds.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn write(&self, out: &File, len: u64) -> Result<(), LinkError> {
        match self {
            Self::File(file) => copy_all(file, out, len).map_err(LinkError::Io),
            Self::Tree(image) => image.write(out).map(drop).map_err(|error| match error {
                RootError::Write(error) => LinkError::Io(error),
                error => LinkError::Root(error),
            }),
            Self::Elsewhere(_) => Ok(()),
        }
    }
}

/// A part of the new file that the kernel does not have.
struct Part<'a> {
    name: &'static [u8],
    /// Where it is loaded; at address zero when it is not.
    extent: Extent,
    /// What is written; `None` for what is copied in the end.
    bytes: Option<&'a [u8]>,
}

impl Part<'_> {
    /// Its boundary in the file.
    fn alignment(&self) -> u64 {
        match self.extent.start {
            0 => 1,
            _ if self.name == ROOT => PAGE,
            _ => SECTOR,
        }
    }
}

/// Writes the ELF `kernel` joined with its symbol table and `payload` to `out`; without a payload it is a kernel that finds its
/// manifest and root elsewhere. The same input always gives the same bytes. Returns where the root begins, which comes last.
///
/// # Errors
/// [`LinkError::TooLarge`] for a root that no machine could load, [`LinkError::Kernel`] for a kernel that is not one of ours,
/// [`LinkError::Root`] for contents that cannot be read, and [`LinkError::Io`] from writing `out`.
pub fn write(file: KernelFile<'_>, payload: Option<&Payload<'_>>, out: &File) -> Result<u64, LinkError> {
    let symbols = symbols::table(file.elf)?;
    let kernel = Kernel::parse(file)?;
    let mut place = Place { next: kernel.end };
    let mut directory = BootDirectory {
        packed: place.take(file.packed.len() as u64)?,
        symbols: place.take(symbols.len() as u64)?,
        ..BootDirectory::default()
    };
    let mut parts = vec![
        Part { name: PACKED, extent: directory.packed, bytes: Some(file.packed) },
        Part { name: SYMBOLS, extent: directory.symbols, bytes: Some(&symbols) },
    ];
    if let Some(Payload { manifest, root, about }) = payload {
        directory.manifest = place.take(manifest.len() as u64)?;
        directory.root = place.take(root.size().map_err(LinkError::Io)?)?;
        let unloaded = Extent { start: 0, length: about.len() as u64 };
        parts.insert(0, Part { name: ABOUT, extent: unloaded, bytes: Some(about) });
        parts.push(Part { name: MANIFEST, extent: directory.manifest, bytes: Some(manifest) });
        if !matches!(root, RootBytes::Elsewhere(_)) {
            parts.push(Part { name: ROOT, extent: directory.root, bytes: None });
        }
    }
    parts.retain(|part| part.extent.length > 0);

    let mut buffer = StreamingBuffer::new(BufWriter::new(out));
    write_head(&kernel, &directory, &parts, &mut buffer)?;
    buffer.flush().map_err(LinkError::Io)?;
    drop(buffer);
    let mut end = out;
    let start = end.stream_position().map_err(LinkError::Io)?;
    payload.map_or(Ok(()), |payload| payload.root.write(out, directory.root.length))?;
    Ok(start)
}

/// The guest-physical memory behind the kernel.
struct Place {
    next: u64,
}

impl Place {
    fn take(&mut self, length: u64) -> Result<Extent, LinkError> {
        let extent = Extent { start: self.next, length };
        let next = self.next.checked_add(length).and_then(|end| end.checked_next_multiple_of(PAGE));
        self.next = next.filter(|next| *next <= LIMIT).ok_or(LinkError::TooLarge { size: length })?;
        Ok(extent)
    }
}

/// Everything before the root's bytes.
fn write_head(
    kernel: &Kernel<'_>,
    directory: &BootDirectory,
    parts: &[Part<'_>],
    buffer: &mut StreamingBuffer<BufWriter<&File>>,
) -> Result<(), LinkError> {
    let failed = |error: object::write::Error| LinkError::Kernel(error.to_string());
    let mut writer = Writer::new(Endianness::Little, true, buffer);
    let is_loaded = |part: &&Part<'_>| part.extent.start != 0;

    // Reserve: fixes every offset.
    writer.reserve_file_header();
    writer.reserve_program_headers((kernel.segments.len() + parts.iter().filter(is_loaded).count()) as u32);
    let moved: Vec<Moved> =
        loaded(&kernel.segments).map(|segment| Moved::reserve(&mut writer, segment)).collect();
    let names: Vec<_> = kernel.sections.iter().map(|section| writer.add_section_name(section.name)).collect();
    let part_names: Vec<_> = parts.iter().map(|part| writer.add_section_name(part.name)).collect();
    for _ in 0..names.len() + parts.len() {
        writer.reserve_section_index();
    }
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().map_err(failed)?;
    writer.reserve_section_headers();
    let offsets: Vec<u64> =
        parts.iter().map(|part| writer.reserve(part.extent.length, part.alignment())).collect();

    // Write, in the same order.
    writer.write_file_header(&kernel.header).map_err(failed)?;
    writer.write_align_program_headers();
    for segment in &kernel.segments {
        writer.write_program_header(&ProgramHeader {
            p_offset: relocate(&moved, segment.p_offset).unwrap_or(0),
            ..segment.clone()
        });
    }
    for (part, offset) in parts.iter().zip(&offsets).filter(|(part, _)| is_loaded(part)) {
        writer.write_program_header(&data_segment(part, *offset));
    }
    let filled = directory.encode();
    for segment in &moved {
        writer.pad_until(segment.to);
        write_segment(&mut writer, kernel, segment, &filled);
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    for (Section { header, .. }, name) in kernel.sections.iter().zip(names) {
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(name)),
            sh_offset: relocate(&moved, header.sh_offset).unwrap_or(0),
            // Links name sections by their index in the kernel's file; no loader follows them.
            sh_flags: header.sh_flags & (elf::SHF_ALLOC | elf::SHF_WRITE | elf::SHF_EXECINSTR),
            sh_link: 0,
            sh_info: 0,
            ..header.clone()
        });
    }
    for ((part, offset), name) in parts.iter().zip(&offsets).zip(part_names) {
        let name = writer.section_name_offset(Some(name));
        writer.write_section_header(&data_section(name, part, *offset));
    }
    writer.write_shstrtab_section_header();
    for (part, offset) in parts.iter().zip(offsets) {
        writer.pad_until(offset);
        writer.write(part.bytes.unwrap_or_default());
    }
    Ok(())
}

/// A loaded segment of the kernel and where it goes in the new file.
#[derive(Debug)]
struct Moved {
    from: u64,
    to: u64,
    length: u64,
}

impl Moved {
    /// Takes the next place in the file that equals the segment's address modulo its alignment.
    fn reserve(writer: &mut Writer<'_>, segment: &ProgramHeader) -> Self {
        let alignment = segment.p_align.max(SECTOR);
        let start = writer.reserve(0, alignment);
        writer.reserve_until(start + segment.p_vaddr % alignment);
        let to = writer.reserve(segment.p_filesz, 1);
        Self { from: segment.p_offset, to, length: segment.p_filesz }
    }
}

/// Where the kernel's byte at `offset` is in the new file. The end of a segment counts as its own if no other begins there: sections without
/// bytes lie there.
fn relocate(moved: &[Moved], offset: u64) -> Option<u64> {
    let holds = |segment: &&Moved| offset >= segment.from && offset - segment.from < segment.length;
    let ends = |segment: &&Moved| offset == segment.from + segment.length;
    let segment = moved.iter().find(holds).or_else(|| moved.iter().find(ends))?;
    Some(segment.to + (offset - segment.from))
}

/// Writes a kernel segment, with the boot directory filled in where the segment holds it.
fn write_segment(writer: &mut Writer<'_>, kernel: &Kernel<'_>, segment: &Moved, filled: &[u8; SIZE]) {
    let (from, to) = (segment.from as usize, (segment.from + segment.length) as usize);
    let directory = kernel.directory as usize;
    if (from..to).contains(&directory) {
        writer.write(&kernel.data[from..directory]);
        writer.write(filled);
        writer.write(&kernel.data[directory + SIZE..to]);
    } else {
        writer.write(&kernel.data[from..to]);
    }
}

/// A read-only segment at a physical address, mapped nowhere.
fn data_segment(part: &Part<'_>, offset: u64) -> ProgramHeader {
    let extent = part.extent;
    ProgramHeader {
        p_type: elf::PT_LOAD,
        p_flags: elf::PF_R,
        p_offset: offset,
        p_vaddr: extent.start,
        p_paddr: extent.start,
        p_filesz: extent.length,
        p_memsz: extent.length,
        p_align: part.alignment(),
    }
}

/// The section of such a segment; one at address zero is not loaded.
fn data_section(name: u32, part: &Part<'_>, offset: u64) -> SectionHeader {
    let extent = part.extent;
    let is_loaded = extent.start != 0;
    SectionHeader {
        sh_name: name,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: if is_loaded { elf::SHF_ALLOC } else { elf::SectionFlags(0) },
        sh_addr: extent.start,
        sh_offset: offset,
        sh_size: extent.length,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: part.alignment(),
        sh_entsize: 0,
    }
}

/// Copies a file of `length` bytes behind what `out` holds.
fn copy_all(mut from: &File, mut out: &File, length: u64) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut out)?;
    if copied != length {
        return Err(io::Error::other(format!(
            "the root changed while it was read: {copied} of {length} bytes"
        )));
    }
    out.flush()
}

#[cfg(test)]
mod tests;
