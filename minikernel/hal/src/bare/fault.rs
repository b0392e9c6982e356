//! Errors of the kernel itself: the report and the end.

use core::{
    fmt::{self, Write},
    panic::PanicInfo,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    apic::{self, apic_id},
    direct,
    layout::{self, DIRECT_BASE, KERNEL_BASE},
    packed, processors,
    registers::{cr2, cr3},
    segments::KERNEL_CODE,
    serial,
    vectors::{PAGE_FAULT, TrapFrame},
};
use crate::{PAGE_SIZE, PhysRange, panic::hook, power, symbols::Symbols, sync::SpinLock};

/// The status that tells the host of an error of Isopod's own.
pub(super) const STATUS: u8 = 125;
/// Lines of a backtrace.
const DEPTH: usize = 32;

/// A report in the making: a text of bounded length that needs no memory.
struct Report {
    text: [u8; 6144],
    len: usize,
}

impl Write for Report {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = &mut self.text[self.len..];
        let count = piece.len().min(room.len());
        room[..count].copy_from_slice(&piece.as_bytes()[..count]);
        self.len += count;
        Ok(())
    }
}

static REPORT: SpinLock<Report> = SpinLock::new(Report { text: [0; 6144], len: 0 });

/// Writes a report with `describe` and a backtrace of the stack from `rsp` on, and ends the machine.
fn end(describe: impl FnOnce(&mut Report), rip: Option<u64>, rsp: u64) -> ! {
    const NOBODY: u32 = u32::MAX;
    static ENDING: AtomicU32 = AtomicU32::new(NOBODY);
    let this = apic_id();
    match ENDING.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        // The others stop where they are.
        Ok(_) => {
            apic::reset_others();
            packed::go_on_alone();
        }
        Err(other) if other != this => loop {
            core::hint::spin_loop();
        },
        // The report itself failed. What was written of it cannot be trusted, but the end can be reached.
        Err(_) => {
            serial::write(b"isopod: a second error while reporting the first\n");
            power::off(STATUS)
        }
    }
    let mut report = REPORT.lock();
    describe(&mut report);
    backtrace(&mut report, rip, rsp);
    let text = &report.text[..report.len];
    if let Some(hook) = hook() {
        hook(text)
    }
    serial::write(text);
    power::off(STATUS)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let rsp: u64;
    // SAFETY: reading the stack pointer changes nothing.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    let describe = |report: &mut Report| {
        // Writing to a report never fails.
        let _ = writeln!(report, "isopod: the kernel has an error: {info}");
    };
    end(describe, None, rsp)
}

/// An exception of the kernel, the first step into packed code among them, or an NMI, a double fault or a machine check wherever it came.
pub(super) extern "C" fn kernel_fault(frame: &TrapFrame) {
    const NMI: u64 = 2;
    match frame.vector {
        PAGE_FAULT if packed::unpack(cr2(), frame.rip as usize) => return,
        NMI => return tell(frame),
        _ => {}
    }
    end(|report| describe(report, frame), Some(frame.rip), frame.rsp)
}

/// An operator wants to see what the machine does. It goes on.
#[inline(never)]
fn tell(frame: &TrapFrame) {
    let mut text = Report { text: [0; 6144], len: 0 };
    describe(&mut text, frame);
    backtrace(&mut text, Some(frame.rip), frame.rsp);
    serial::write(&text.text[..text.len]);
}

fn describe(report: &mut Report, frame: &TrapFrame) {
    let name = match frame.vector {
        0 => "division error",
        2 => "non-maskable interrupt",
        6 => "invalid instruction",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        18 => "machine check",
        _ => "exception",
    };
    let mode = if frame.cs == u64::from(KERNEL_CODE) { "the kernel" } else { "user code" };
    let TrapFrame { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, .. } =
        *frame;
    let TrapFrame { vector, error, rip, cs, rflags, .. } = *frame;
    // Writing to a report never fails.
    let _ = write!(
        report,
        "isopod: {name} in {mode} (vector {vector}, error {error:#x})\n\
         rip {rip:016x} cs {cs:02x} flags {rflags:08x} cr2 {:016x} cr3 {:016x}\n\
         rax {rax:016x} rbx {rbx:016x} rcx {rcx:016x} rdx {rdx:016x}\n\
         rsi {rsi:016x} rdi {rdi:016x} rbp {rbp:016x} rsp {rsp:016x}\n\
         r8  {r8:016x} r9  {r9:016x} r10 {r10:016x} r11 {r11:016x}\n\
         r12 {r12:016x} r13 {r13:016x} r14 {r14:016x} r15 {r15:016x}\n",
        cr2(),
        cr3(),
    );
}

/// Lists the calls that led here: `rip`, then every word of the stack that a call instruction can have left there. No register is kept for
/// frame pointers, which would cost each call a twentieth; so a call that has returned may be among them where its word was not
/// overwritten.
fn backtrace(report: &mut Report, rip: Option<u64>, rsp: u64) {
    let symbols = symbols();
    let mut call = |number: usize, at: u64, offset: u64| {
        // A return address is behind its call, which may be the function's last instruction.
        let place = at.wrapping_sub(offset).wrapping_sub(KERNEL_BASE as u64);
        let found = u32::try_from(place).ok().and_then(|place| symbols?.lookup(place));
        let _ = match found {
            Some((name, inside)) => {
                writeln!(report, "{number:3}: {at:#x} {name}+{:#x}", u64::from(inside) + offset)
            }
            None => writeln!(report, "{number:3}: {at:#x}"),
        };
    };
    let first = usize::from(rip.is_some());
    if let Some(rip) = rip {
        call(0, rip, 0);
    }
    for (number, at) in (first..DEPTH).zip(stack_from(rsp as usize).filter(|&word| follows_call(word))) {
        call(number, at as u64, 1);
    }
}

/// The words of the kernel's stack that `rsp` lies in, from there on. Looked for among all stacks, as an exception may come with user code's
/// `gs`; one that has overflowed ends a page below.
fn stack_from(rsp: usize) -> impl Iterator<Item = usize> {
    let stacks = (0..processors::MOST).filter_map(processors::cpu).map(|cpu| {
        // SAFETY: set before the CPU started.
        unsafe { (*cpu.stack_range.get()).clone() }
    });
    let mut stacks = stacks.filter(|range| (range.start.saturating_sub(PAGE_SIZE)..range.end).contains(&rsp));
    let range = stacks.next().map_or(0..0, |range| rsp.max(range.start).next_multiple_of(8)..range.end);
    range.step_by(8).map(|at| {
        // SAFETY: the word lies on a kernel stack, which is mapped; what it says is not believed.
        unsafe { *core::ptr::with_exposed_provenance::<usize>(at) }
    })
}

/// Whether the instruction before `at` is a call: `e8` and a distance, or `ff /2` with an operand of any length (SDM volume 2, CALL).
fn follows_call(at: usize) -> bool {
    const LONGEST: usize = 7;
    let is_code = |at| (layout::text()..layout::text_end()).contains(&at) && direct::is_code(at);
    if !is_code(at) || !is_code(at.saturating_sub(LONGEST)) {
        return false;
    }
    // SAFETY: the bytes are the kernel's code.
    let before = unsafe { *core::ptr::with_exposed_provenance::<[u8; LONGEST]>(at - LONGEST) };
    let indirect = |len: usize| before[LONGEST - len] == 0xff && before[LONGEST - len + 1] & 0x38 == 0x10;
    before[LONGEST - 5] == 0xe8 || [2, 3, 4, 6, 7].into_iter().any(indirect)
}

/// The linked symbol table, if there is one and it can be reached without memory for tables.
fn symbols() -> Option<Symbols<'static>> {
    let range: PhysRange = super::start::boot_info()?.link.symbols?;
    super::direct::map_direct(range, &mut || None).ok()?;
    let start = core::ptr::with_exposed_provenance::<u8>(DIRECT_BASE + range.start.as_u64() as usize);
    // SAFETY: the loader put these bytes there, they were kept from the allocator, and nobody writes them.
    Symbols::parse(unsafe { core::slice::from_raw_parts(start, range.len as usize) })
}
