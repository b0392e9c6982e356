//! Loading: from a file to mapped segments.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs as fs;
use isopod_fs::file::WriteDenied;
use isopod_fs::{Buffer, Errno, Inode};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::elf::{self, Header, Layout, Segment};
use crate::mm::{
    AddressSpace, Backing, FaultKind, FileBacking, MapRequest, Placement, VmaFlags, page_down, page_up,
};

/// An ELF file, read as far as loading needs.
#[derive(Debug)]
pub struct ElfFile {
    file: WriteDenied,
    header: Header,
    layout: Layout,
}

/// A program or interpreter in memory.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    /// Difference between where it is and what the file says.
    pub bias: usize,
    /// Where it begins to run.
    pub entry: usize,
    /// Where its program headers are.
    pub headers: usize,
    /// How many there are.
    pub headers_count: usize,
    /// First address after its last segment.
    pub end: usize,
}

/// Reads `length` bytes at `offset`; fewer at the end of the file.
pub fn read(inode: &Arc<dyn Inode>, offset: u64, length: usize) -> fs::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    bytes.resize(length, 0);
    let mut filled = 0;
    while filled < length {
        let count = inode.read_at(offset + filled as u64, &mut Buffer::new(&mut bytes[filled..]))?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl ElfFile {
    /// Reads the headers of `file`, of which `start` is the beginning.
    pub fn parse(file: &WriteDenied, start: &[u8]) -> fs::Result<Self> {
        let header = elf::parse_header(start)?;
        let size = header.headers_size();
        let offset = usize::try_from(header.headers_offset).map_err(|_| Errno::ENOEXEC)?;
        let headers = match offset.checked_add(size).and_then(|end| start.get(offset..end)) {
            Some(there) => there.to_vec(),
            None => read(file.inode(), header.headers_offset, size)?,
        };
        if headers.len() < size {
            return Err(Errno::ENOEXEC.into());
        }
        let layout = elf::parse_layout(&header, &headers)?;
        Ok(Self { file: file.clone(), header, layout })
    }

    /// The file itself.
    pub fn file(&self) -> &WriteDenied {
        &self.file
    }

    /// The file, kept from being written to.
    pub fn into_file(self) -> WriteDenied {
        self.file
    }

    /// The stack may be executed.
    pub fn executable_stack(&self) -> bool {
        self.layout.executable_stack
    }

    /// The path of the interpreter it asks for; errors are those of `load_elf_binary`.
    pub fn interpreter(&self) -> fs::Result<Option<Vec<u8>>> {
        let Some((offset, length)) = self.layout.interpreter else { return Ok(None) };
        i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let mut path = read(self.file.inode(), offset, length)?;
        if path.len() != length {
            return Err(Errno::EIO.into());
        }
        // It must end with a NUL where the header says.
        if path.pop() != Some(0) {
            return Err(Errno::ENOEXEC.into());
        }
        path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
        // The kernel opens an empty name as the working directory, which is no program.
        if path.is_empty() { Err(Errno::EACCES.into()) } else { Ok(Some(path)) }
    }

    /// Maps all segments into `space`. A program that can lie anywhere goes to `base`, or where mappings go.
    pub async fn load(&self, space: &Arc<AddressSpace>, base: Option<usize>) -> Result<Loaded, Errno> {
        let (start, end) = self.layout.span().ok_or(Errno::ENOMEM)?;
        let bias = if self.header.relocatable {
            let alignment = self.layout.alignment();
            let at = match base {
                Some(base) => base & !(alignment - 1),
                None => reserve(space, end - start, alignment)?,
            };
            at.wrapping_sub(start)
        } else {
            0
        };
        for segment in &self.layout.segments {
            self.map(space, segment, bias).await?;
        }
        let moved = |address: u64| (address as usize).wrapping_add(bias);
        Ok(Loaded {
            bias,
            entry: moved(self.header.entry),
            headers: self.layout.headers_address.map_or(0, moved),
            headers_count: usize::from(self.header.headers_count),
            end: end.wrapping_add(bias),
        })
    }

    /// Maps one segment: its part of the file, then zeros.
    async fn map(&self, space: &Arc<AddressSpace>, segment: &Segment, bias: usize) -> Result<(), Errno> {
        let address = (segment.address as usize).wrapping_add(bias);
        let start = page_down(address);
        let file_end = address + segment.file_size as usize;
        let memory_end = page_up(address + segment.memory_size as usize).ok_or(Errno::ENOMEM)?;
        let zeros_start =
            if segment.file_size == 0 { start } else { page_up(file_end).ok_or(Errno::ENOMEM)? };
        if segment.file_size != 0 {
            let offset = segment.offset - (address - start) as u64;
            let backing =
                FileBacking::new(space, Arc::clone(&self.file), Arc::clone(self.file.inode()), offset)?;
            place(space, start, zeros_start - start, segment.access, Backing::File(backing))?;
            // What lies behind the file's part in its last page belongs to the zeros, if the program may write there.
            if segment.memory_size > segment.file_size
                && segment.access.contains(Access::WRITE)
                && file_end != zeros_start
            {
                clear(space, file_end, zeros_start - file_end).await?;
            }
        }
        if memory_end > zeros_start {
            place(space, zeros_start, memory_end - zeros_start, segment.access, Backing::Anonymous)?;
        }
        Ok(())
    }
}

/// Maps one run of pages at a fixed place.
fn place(
    space: &AddressSpace,
    start: usize,
    length: usize,
    access: Access,
    backing: Backing,
) -> Result<(), Errno> {
    let request = MapRequest {
        placement: Placement::Fixed(start),
        length,
        access,
        max_access: Access::all(),
        flags: VmaFlags::empty(),
        backing,
    };
    space.map(request).map(|_| ())
}

/// Finds room for `length` bytes where mappings go.
fn reserve(space: &AddressSpace, length: usize, alignment: usize) -> Result<usize, Errno> {
    let padded = length.checked_add(alignment - PAGE_SIZE).ok_or(Errno::ENOMEM)?;
    let at = space.find_room(padded)?;
    Ok((at + alignment - 1) & !(alignment - 1))
}

/// Writes zeros into a page of an address space that is not active.
async fn clear(space: &AddressSpace, from: usize, length: usize) -> Result<(), Errno> {
    space.fault_in(from..from + length, FaultKind::Write).await.map_err(|_| Errno::EIO)?;
    let offset = from % PAGE_SIZE;
    space.frame_at(from).ok_or(Errno::ENOMEM)?.clear(offset..offset + length);
    Ok(())
}
