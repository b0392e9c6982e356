//! What can be read of a process's memory: its strings, its auxiliary vector, its areas.

use core::ops::Range;

use isopod_fs::{Errno, Error, Result};
use isopod_hal::PAGE_SIZE;

use super::subject::Subject;
use super::table::put;
use super::text::Text;
use crate::mm::{AddressSpace, FaultError, FaultKind, Resident, Vma, describe};

/// Where the program's code is: the area in which it began to run.
pub(super) fn text_range(memory: &AddressSpace) -> Range<usize> {
    memory.area_at(memory.start().entry() as usize).map_or(0..0, |vma| vma.range())
}

/// Adds the bytes in `range`, as far as they can be had.
fn copy(memory: &AddressSpace, range: Range<usize>, text: &mut Text) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        match memory.fault(at, FaultKind::Read) {
            Ok(()) => {}
            Err(FaultError::Wait(wait)) => return Err(Error::Wait(wait)),
            Err(FaultError::Memory) => return Err(Errno::ENOMEM.into()),
            Err(_) => break,
        }
        // Another thread may just have unmapped it.
        let Some(frame) = memory.frame_at(at) else { continue };
        let mut chunk = [0; 256];
        let offset = at % PAGE_SIZE;
        let length = chunk.len().min(PAGE_SIZE - offset).min(range.end - at);
        frame.read(offset, &mut chunk[..length]);
        text.put(&chunk[..length]);
        at += length;
    }
    Ok(())
}

/// `proc_pid_cmdline(5)`. A program that has written its title over its arguments, and maybe on over the environment, has no NUL where they
/// ended: then the title goes up to the first one.
pub(super) fn command_line(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.process()?.memory();
    let start = memory.start();
    copy(&memory, start.arguments, text)?;
    if text.bytes().last().is_some_and(|&last| last != 0) {
        copy(&memory, start.environment, text)?;
        let title = text.bytes().iter().position(|&byte| byte == 0).map_or(text.bytes().len(), |end| end + 1);
        text.truncate(title);
    }
    Ok(())
}

/// `proc_pid_environ(5)`
pub(super) fn environment(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.process()?.memory();
    copy(&memory, memory.start().environment, text)
}

/// `proc_pid_auxv(5)`
pub(super) fn auxiliary(subject: &Subject, text: &mut Text) -> Result<()> {
    for (kind, value) in subject.process()?.memory().start().auxiliary.iter() {
        text.put(&kind.to_le_bytes());
        text.put(&value.to_le_bytes());
    }
    Ok(())
}

/// `proc_pid_maps(5)`
pub(super) fn maps(subject: &Subject, text: &mut Text) -> Result<()> {
    for vma in subject.process()?.memory().areas()? {
        put!(text, "{}\n", describe(&vma));
    }
    Ok(())
}

/// `proc_pid_smaps(5)`, as far as it is counted.
pub(super) fn smaps(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.process()?.memory();
    for vma in memory.areas()? {
        put!(text, "{}\n", describe(&vma));
        size(text, "Size", vma.len());
        size(text, "KernelPageSize", PAGE_SIZE);
        size(text, "MMUPageSize", PAGE_SIZE);
        resident(&memory, core::slice::from_ref(&vma), text);
    }
    Ok(())
}

/// The sums of `smaps`.
pub(super) fn smaps_rollup(subject: &Subject, text: &mut Text) -> Result<()> {
    let memory = subject.process()?.memory();
    let areas = memory.areas()?;
    if let (Some(first), Some(last)) = (areas.first(), areas.last()) {
        put!(
            text,
            "{:08x}-{:08x} ---p 00000000 00:00 0                          [rollup]\n",
            first.start,
            last.end
        );
        resident(&memory, &areas, text);
    }
    Ok(())
}

fn resident(memory: &AddressSpace, areas: &[Vma], text: &mut Text) {
    let mut sum = Resident::default();
    for vma in areas {
        memory.add_resident(vma, &mut sum);
    }
    let [private, shared] = sum.kinds;
    for (name, bytes) in [
        ("Rss", sum.all),
        ("Pss", sum.proportional),
        ("Shared_Clean", shared[0]),
        ("Shared_Dirty", shared[1]),
        ("Private_Clean", private[0]),
        ("Private_Dirty", private[1]),
        ("Referenced", sum.referenced),
        ("Anonymous", sum.anonymous),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", sum.locked),
    ] {
        size(text, name, bytes);
    }
}

fn size(text: &mut Text, name: &str, bytes: usize) {
    put!(text, "{name}:{:1$} kB\n", bytes >> 10, 23 - name.len());
}
