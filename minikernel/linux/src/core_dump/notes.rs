//! What a core file tells besides memory: registers, the process, its auxiliary vector, its files (`fs/binfmt_elf.c`, `linux/elfcore.h`).

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::Errno;
use isopod_hal::PAGE_SIZE;
use zerocopy::IntoBytes;

use super::Registers;
use crate::kernel;
use crate::mm::{AddressSpace, Backing, Vma};
use crate::process::Process;
use crate::signal::{SigInfo, Signal};
use crate::time::CpuTime;
use crate::trace::FLOATING;
use crate::wait::retry;

const PRSTATUS: u32 = 1;
const FPREGSET: u32 = 2;
const PRPSINFO: u32 = 3;
const AUXV: u32 = 6;
const SIGINFO: u32 = 0x5349_4749;
const FILE: u32 = 0x4649_4c45;
const X86_XSTATE: u32 = 0x202;

/// Bytes of the arguments that a core file tells (`ELF_PRARGSZ`).
const ARGUMENTS: usize = 80;

/// Adds bytes as far as there is memory.
fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Errno> {
    out.try_reserve(bytes.len()).map_err(|_| Errno::ENOMEM)?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// A note: its name, its type and its content, each filled up to words (elf(5), "Notes").
fn note(out: &mut Vec<u8>, kind: u32, content: &[u8]) -> Result<(), Errno> {
    // What the registers are called that only Linux knows.
    let name: &[u8] = if kind == X86_XSTATE { b"LINUX\0\0\0" } else { b"CORE\0\0\0\0" };
    let length = if kind == X86_XSTATE { 6u32 } else { 5 };
    for word in [length, content.len() as u32, kind] {
        put(out, &word.to_le_bytes())?;
    }
    put(out, name)?;
    put(out, content)?;
    put(out, &[0; 3][..content.len().next_multiple_of(4) - content.len()])
}

/// All notes; those of the thread that was signalled come first.
pub(super) async fn all(
    signal: Signal,
    info: &SigInfo,
    own: &Registers,
    others: &[Registers],
    memory: &AddressSpace,
    areas: &[Vma],
) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    note(&mut out, PRSTATUS, &status(own, Some((signal, info))))?;
    note(&mut out, PRPSINFO, &about(own, memory).await)?;
    note(&mut out, SIGINFO, info.shown().as_bytes())?;
    let mut auxiliary = Vec::new();
    for (key, value) in memory.start().auxiliary.iter() {
        put(&mut auxiliary, &key.to_le_bytes())?;
        put(&mut auxiliary, &value.to_le_bytes())?;
    }
    note(&mut out, AUXV, &auxiliary)?;
    note(&mut out, FILE, &files(areas)?)?;
    floating(&mut out, own)?;
    for other in others {
        note(&mut out, PRSTATUS, &status(other, None))?;
        floating(&mut out, other)?;
    }
    Ok(out)
}

/// Numbers at their places in a structure.
fn set(bytes: &mut [u8], at: usize, number: &[u8]) {
    bytes[at..at + number.len()].copy_from_slice(number);
}

/// `struct elf_prstatus`
fn status(of: &Registers, signalled: Option<(Signal, &SigInfo)>) -> [u8; 336] {
    let mut bytes = [0; 336];
    if let Some((signal, info)) = signalled {
        for (at, number) in [(0, info.signal), (4, info.code), (8, info.errno)] {
            set(&mut bytes, at, &number.to_le_bytes());
        }
        set(&mut bytes, 12, &u16::from(signal.number()).to_le_bytes());
    }
    let (pending, blocked) = {
        let signals = of.thread.signals.lock();
        (signals.pending.set().bits(), signals.mask.bits())
    };
    set(&mut bytes, 16, &pending.to_le_bytes());
    set(&mut bytes, 24, &blocked.to_le_bytes());
    let process = of.thread.process();
    for (at, id) in (32..).step_by(4).zip(family(process, of.thread.tid())) {
        set(&mut bytes, at, &id.to_le_bytes());
    }
    let (own, children) = (CpuTime::of_thread(&of.thread), CpuTime::of_children(process));
    for (at, ns) in (48..).step_by(16).zip([own.user, own.system, children.user, children.system]) {
        set(&mut bytes, at, &(ns / 1_000_000_000).to_le_bytes());
        set(&mut bytes, at + 8, &(ns % 1_000_000_000 / 1000).to_le_bytes());
    }
    set(&mut bytes, 112, of.general.as_bytes());
    set(&mut bytes, 328, &u32::from(!of.floating.is_empty()).to_le_bytes());
    bytes
}

/// A thread's own id, its parent's, its group's and its session's.
fn family(process: &Process, tid: u32) -> [u32; 4] {
    let of = |id: &core::sync::atomic::AtomicU32| id.load(Ordering::Relaxed);
    [tid, of(&process.parent_pid), of(&process.group), of(&process.session)]
}

/// `struct elf_prpsinfo`
async fn about(of: &Registers, memory: &AddressSpace) -> [u8; 136] {
    let mut bytes = [0; 136];
    let (process, identity) = (of.thread.process(), of.thread.identity());
    bytes[1] = b'R';
    bytes[3] = of.thread.nice.load(Ordering::Relaxed) as u8;
    let ids = [identity.users.real, identity.groups.real];
    for (at, id) in (16..).step_by(4).zip(ids.into_iter().chain(family(process, process.pid))) {
        set(&mut bytes, at, &id.to_le_bytes());
    }
    let name = of.thread.name();
    set(&mut bytes, 40, &name[..name.len().min(15)]);
    let arguments = memory.start().arguments;
    let length = arguments.len().min(ARGUMENTS - 1);
    let mut text = [0; ARGUMENTS];
    let mut done = 0;
    while done < length {
        // What cannot be read is left out.
        match retry(|| memory.peek(arguments.start + done, &mut text[done..length])).await {
            Ok(count) if count > 0 => done += count,
            _ => break,
        }
    }
    for (place, byte) in bytes[56..].iter_mut().zip(&text[..done]) {
        *place = if *byte == 0 { b' ' } else { *byte };
    }
    bytes
}

/// Files that are mapped: their number, the unit of offsets, where each lies and begins, and then their names.
fn files(areas: &[Vma]) -> Result<Vec<u8>, Errno> {
    let (mut table, mut names, mut count) = (Vec::new(), Vec::new(), 0u64);
    for vma in areas {
        let Backing::File(part) = &vma.backing else { continue };
        for word in [vma.start as u64, vma.end as u64, part.offset / PAGE_SIZE as u64] {
            put(&mut table, &word.to_le_bytes())?;
        }
        put(&mut names, &part.file.path().text(&kernel::root()).0)?;
        put(&mut names, &[0])?;
        count += 1;
    }
    let mut all = Vec::new();
    put(&mut all, &count.to_le_bytes())?;
    put(&mut all, &(PAGE_SIZE as u64).to_le_bytes())?;
    put(&mut all, &table)?;
    put(&mut all, &names)?;
    Ok(all)
}

fn floating(out: &mut Vec<u8>, of: &Registers) -> Result<(), Errno> {
    if let Some(legacy) = of.floating.get(..FLOATING) {
        note(out, FPREGSET, legacy)?;
    }
    if of.floating.len() > FLOATING {
        note(out, X86_XSTATE, &of.floating)?;
    }
    Ok(())
}
