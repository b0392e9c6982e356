//! Which memory a core file has, and how it is laid out.

use alloc::vec::Vec;
use core::ops::Range;

use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::file::CoreFile;
use crate::mm::{AddressSpace, Backing, Resident, Vma, VmaFlags};
use crate::sched;
use crate::wait::retry;

/// Bits of `/proc/PID/coredump_filter`.
const PRIVATE_ANONYMOUS: u32 = 1 << 0;
const SHARED_ANONYMOUS: u32 = 1 << 1;
const PRIVATE_FILE: u32 = 1 << 2;
const SHARED_FILE: u32 = 1 << 3;
const ELF_HEADERS: u32 = 1 << 4;

/// After so many pages others have their turn.
const STEP: usize = 64;

/// Bytes of an ELF header, and of a program header.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// An area, of which the first `length` bytes are written.
pub(super) struct Part {
    range: Range<usize>,
    flags: u32,
    length: usize,
    /// What was never touched is not read for it.
    anonymous: bool,
}

/// All areas that programs see.
pub(super) fn parts(memory: &AddressSpace, areas: &[Vma], filter: u32) -> Result<Vec<Part>, Errno> {
    let mut parts = Vec::new();
    parts.try_reserve_exact(areas.len()).map_err(|_| Errno::ENOMEM)?;
    for vma in areas {
        let flag = |access, bit| if vma.access.contains(access) { bit } else { 0 };
        parts.push(Part {
            range: vma.range(),
            flags: flag(Access::READ, 4) | flag(Access::WRITE, 2) | flag(Access::EXEC, 1),
            length: written(memory, vma, filter),
            anonymous: matches!(vma.backing, Backing::Anonymous),
        });
    }
    Ok(parts)
}

/// How many bytes of an area belong into the file (`vma_dump_size`).
fn written(memory: &AddressSpace, vma: &Vma, filter: u32) -> usize {
    let all = |wanted: bool| if wanted { vma.len() } else { 0 };
    match &vma.backing {
        // The code that the kernel gives programs; what it shows them of the time would change while it is read.
        Backing::Kernel { name, .. } => all(*name == "[vdso]"),
        _ if vma.flags.contains(VmaFlags::DONT_DUMP) => 0,
        Backing::Anonymous => all(filter & PRIVATE_ANONYMOUS != 0),
        Backing::File(part) if vma.flags.contains(VmaFlags::SHARED) => {
            let named = part.inode.metadata().is_ok_and(|about| about.links > 0);
            all(filter & if named { SHARED_FILE } else { SHARED_ANONYMOUS } != 0)
        }
        Backing::File(part) => {
            let mut sum = Resident::default();
            memory.add_resident(vma, &mut sum);
            let changed = sum.anonymous > 0 && filter & PRIVATE_ANONYMOUS != 0;
            if changed || filter & PRIVATE_FILE != 0 {
                return vma.len();
            }
            // What tells a debugger which file was mapped (`ELF_HEADERS`), where it begins with that.
            let begins = part.offset == 0 && vma.access.contains(Access::READ) && filter & ELF_HEADERS != 0;
            let mut magic = [0; 4];
            let is_elf =
                begins && matches!(memory.peek(vma.start, &mut magic), Ok(4)) && magic == *b"\x7fELF";
            if is_elf { PAGE_SIZE } else { 0 }
        }
    }
}

/// Writes headers, notes and memory.
pub(super) async fn write(
    file: &mut CoreFile<'_>,
    memory: &AddressSpace,
    parts: &[Part],
    notes: &[u8],
) -> Result<(), Errno> {
    let headers = HEADER + PROGRAM_HEADER * (parts.len() + 1);
    let begin = (headers + notes.len()).next_multiple_of(PAGE_SIZE) as u64;
    let mut head = Vec::new();
    head.try_reserve_exact(headers).map_err(|_| Errno::ENOMEM)?;
    put_header(&mut head, parts.len() + 1);
    // `PT_NOTE`
    put_program_header(&mut head, [4, 0], [headers as u64, 0, notes.len() as u64, 0, 4]);
    let mut offset = begin;
    for part in parts {
        let place = [offset, part.range.start as u64, part.length as u64, part.range.len() as u64];
        // `PT_LOAD`
        put_program_header(
            &mut head,
            [1, part.flags],
            [place[0], place[1], place[2], place[3], PAGE_SIZE as u64],
        );
        offset += part.length as u64;
    }
    file.put(&head).await?;
    file.put(notes).await?;
    let mut page = Vec::new();
    page.try_reserve_exact(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
    page.resize(PAGE_SIZE, 0);
    let (mut offset, mut pages) = (begin, 0);
    for part in parts {
        for at in (part.range.start..part.range.start + part.length).step_by(PAGE_SIZE) {
            file.skip_to(offset);
            if get(memory, part, at, &mut page).await {
                file.put(&page).await?;
            }
            offset += PAGE_SIZE as u64;
            pages += 1;
            if pages % STEP == 0 {
                sched::give_way().await;
            }
        }
    }
    file.skip_to(offset);
    Ok(())
}

/// Reads a page. False for one that is not there, and so reads as zeros.
async fn get(memory: &AddressSpace, part: &Part, at: usize, page: &mut [u8]) -> bool {
    match memory.frame_at(at) {
        Some(frame) => {
            frame.read(0, page);
            true
        }
        None if part.anonymous => false,
        None => retry(|| memory.peek(at, page)).await.is_ok(),
    }
}

/// The ELF header of a core file with `count` program headers behind it.
fn put_header(head: &mut Vec<u8>, count: usize) {
    // 64 bits, least byte first, version 1.
    head.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_CORE for EM_X86_64
    for half in [4u16, 62] {
        head.extend_from_slice(&half.to_le_bytes());
    }
    head.extend_from_slice(&1u32.to_le_bytes());
    for word in [0, HEADER as u64, 0] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    head.extend_from_slice(&0u32.to_le_bytes());
    // There are fewer areas than 16 bits can count (`vm.max_map_count`).
    for half in [HEADER, PROGRAM_HEADER, count, 0, 0, 0] {
        head.extend_from_slice(&(half as u16).to_le_bytes());
    }
}

/// A program header: type and flags; offset, address, bytes in the file, bytes in memory, alignment.
fn put_program_header(head: &mut Vec<u8>, kind: [u32; 2], [offset, at, file, memory, align]: [u64; 5]) {
    for word in kind {
        head.extend_from_slice(&word.to_le_bytes());
    }
    for word in [offset, at, 0, file, memory, align] {
        head.extend_from_slice(&word.to_le_bytes());
    }
}
