//! `/proc/PID/pagemap`: eight bytes for each page of a process's memory (`proc_pid_pagemap(5)`).

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use isopod_fs::file::{FileOps, OpenFile, Seeking};
use isopod_fs::{Capabilities, Errno, Result, Sink};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::USER_END;

use super::subject::Subject;
use crate::mm::{AddressSpace, Backing};
use crate::process;

/// Bytes of an entry.
const ENTRY: u64 = 8;
/// Entries in one read at most: more is read by the next.
const STEP: usize = 512;

const PRESENT: u64 = 1 << 63;
/// Of a file, or anonymous and shared.
const FILE: u64 = 1 << 61;
/// Mapped nowhere else.
const EXCLUSIVE: u64 = 1 << 56;

/// The memory that the process had when the file was opened.
struct Pagemap {
    memory: Weak<AddressSpace>,
    /// Whether the reader may know where in the machine's memory a page lies.
    privileged: bool,
}

/// Opens the map of a process's pages.
pub(super) fn open(subject: &Subject) -> Result<Box<dyn FileOps>> {
    subject.check_access()?;
    let privileged =
        process::current().is_some_and(|caller| caller.identity().capable(Capabilities::SYS_ADMIN));
    Ok(Box::new(Pagemap { memory: Arc::downgrade(&subject.process()?.memory()), privileged }))
}

impl Pagemap {
    fn entry(&self, memory: &AddressSpace, page: usize) -> u64 {
        let Some(frame) = memory.frame_at(page) else { return 0 };
        let of_file = memory.area_at(page).is_some_and(|vma| !matches!(vma.backing, Backing::Anonymous));
        let number = if self.privileged { frame.phys().as_u64() / PAGE_SIZE as u64 } else { 0 };
        // This look at it is one owner more.
        let exclusive = frame.owners() == 2;
        PRESENT | if of_file { FILE } else { 0 } | if exclusive { EXCLUSIVE } else { 0 } | number
    }
}

impl FileOps for Pagemap {
    fn read(&self, _: &OpenFile, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if !offset.is_multiple_of(ENTRY) || !(sink.remaining() as u64).is_multiple_of(ENTRY) {
            return Err(Errno::EINVAL.into());
        }
        let Some(memory) = self.memory.upgrade() else { return Ok(0) };
        let mut done = 0;
        for number in (offset / ENTRY..).take(STEP) {
            let page = usize::try_from(number).ok().and_then(|number| number.checked_mul(PAGE_SIZE));
            let Some(page) = page.filter(|&page| page < USER_END && sink.remaining() > 0) else { break };
            let taken = sink.put(&self.entry(&memory, page).to_le_bytes());
            done += taken;
            if (taken as u64) < ENTRY {
                break;
            }
        }
        Ok(done)
    }

    fn seeking(&self) -> Seeking {
        Seeking::WithoutEnd
    }
}
