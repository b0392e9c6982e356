//! Running user code.
//!
//! [`UserContext::run`] is a function call that goes to ring 3 and comes back with the reason why it returned. Whoever
//! owns the context decides what happens next; there is no kernel stack per thread.

mod fpu;

pub(crate) use fpu::FpuLayout;
#[cfg(isopod_bare)]
pub(crate) use fpu::Prefix;
pub use fpu::{Fpu, Invalid};

use crate::{machine, memory::OutOfMemory, paging::USER_END};

/// The general registers of a user thread. First those that carry arguments, which every line of a table of system
/// calls reads: the shortest instructions reach only the first bytes of what holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the registers' own names")]
pub struct Registers {
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub r10: u64,
    pub r8: u64,
    pub r9: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// Why user code stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// The `syscall` instruction: number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`. As on Linux `rcx` and `r11`
    /// hold the return address and the flags.
    Syscall,
    /// An access that the page tables forbid. `rip` is the instruction, which runs again at the next
    /// [`UserContext::run`].
    PageFault {
        /// What was accessed: any number that the program can form.
        address: usize,
        /// A store.
        write: bool,
        /// An instruction fetch.
        exec: bool,
        /// The page is mapped, with other rights.
        present: bool,
    },
    /// Another exception: its vector (SDM volume 3, table 6-1) and error code, 0 where it has none. That of a debug exception is what DR6 says of its
    /// causes: a bit for each breakpoint, and bit 14 for a single step.
    Exception {
        /// 0 to 31.
        vector: u8,
        /// As the processor pushed it.
        error: u64,
    },
    /// A device or the timer interrupted; pass the vector to [`crate::irq::dispatch`].
    Interrupt(u8),
}

/// Flags that user code may set itself with `popf` or a signal frame: carry, parity, auxiliary, zero, sign, trap,
/// direction, overflow, nested task, resume, alignment check, identification.
const USER_FLAGS: u64 = 0x0025_4dd5;
/// Flags that are always set in user mode: the fixed one and the interrupt flag.
const FIXED_FLAGS: u64 = 0x202;

/// Where a debugger of the whole machine stops it to learn that user code will begin at `first`, and the program itself at `own`, which differs where
/// its loader goes before. It finds the place by this name, which the builder knows, and the arguments in `rdi` and `rsi`.
// SAFETY: no other symbol has that name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn isopod_program_begins(first: u64, own: u64) {
    core::hint::black_box((first, own));
}

/// Stores what this CPU still holds of the thread that it ran last, so that any CPU may run that thread next. To be called where a thread
/// gives up the CPU.
pub fn release() {
    machine::fpu_release();
}

/// What the processor holds of a user thread.
#[derive(Debug)]
pub struct UserContext {
    /// General registers; may be set to anything, and what the processor must not get is corrected at
    /// [`UserContext::run`].
    pub regs: Registers,
    /// Floating-point and vector registers, and the segment bases.
    pub fpu: Fpu,
}

impl UserContext {
    /// A thread that will start at `entry` with `stack` as its stack pointer and everything else zero or initial.
    pub fn new(entry: u64, stack: u64) -> Result<Self, OutOfMemory> {
        let regs = Registers { rip: entry, rsp: stack, rflags: FIXED_FLAGS, ..Registers::default() };
        Ok(Self { regs, fpu: Fpu::initial()? })
    }

    /// A second thread in the same state (`clone`, `fork`). Not `Clone`, since it takes memory.
    pub fn try_clone(&self) -> Result<Self, OutOfMemory> {
        Ok(Self { regs: self.regs, fpu: self.fpu.try_clone()? })
    }

    /// Brings all of the state into memory and out of the CPU: it will be another that goes on with it, or changes it first.
    pub fn park(&mut self) {
        machine::fpu_sync(self.fpu.area_pointer());
        machine::fpu_forget(self.fpu.area_pointer());
    }

    /// Base of the segment that holds the thread's local storage (`ARCH_GET_FS`).
    ///
    /// Not in [`Registers`]: as the program may change it by `wrfsbase`, it changes hands with the vector registers,
    /// and a system call need neither load nor save it.
    pub fn fs_base(&self) -> u64 {
        self.fpu.bases().0
    }

    /// Base of the segment `gs` (`ARCH_GET_GS`).
    pub fn gs_base(&self) -> u64 {
        self.fpu.bases().1
    }

    /// Sets the base of `fs`; false where it lies outside the user half (`EPERM`).
    #[must_use]
    pub fn set_fs_base(&mut self, base: u64) -> bool {
        let valid = base < USER_END as u64;
        if valid {
            self.fpu.set_bases(base, self.gs_base());
        }
        valid
    }

    /// Sets the base of `gs`; false where it lies outside the user half (`EPERM`).
    #[must_use]
    pub fn set_gs_base(&mut self, base: u64) -> bool {
        let valid = base < USER_END as u64;
        if valid {
            self.fpu.set_bases(self.fs_base(), base);
        }
        valid
    }

    /// Has the thread trap at breakpoints (SDM volume 3, section 18.2.4): `control` is DR7 without reserved bits, 0 for none. The kernel's copies
    /// do not trap there. Addresses outside the user half are not met.
    pub fn set_breakpoints(&mut self, control: u64, addresses: [u64; 4]) -> Result<(), OutOfMemory> {
        /// Each breakpoint's enabling bits, kind and length.
        const BITS: u64 = 0xffff_00ff;
        machine::prepare_breakpoints()?;
        let prefix = self.fpu.prefix_mut();
        prefix.breakpoints = addresses.map(|address| if address < USER_END as u64 { address } else { 0 });
        prefix.control = control & BITS;
        Ok(())
    }

    /// Runs the thread in the active address space until something happens.
    ///
    /// A `rip` outside the user half faults in user mode, as a jump there would.
    #[expect(clippy::inline_always, reason = "the way of every system call")]
    #[inline(always)]
    pub fn run(&mut self) -> Trap {
        self.regs.rflags = self.regs.rflags & USER_FLAGS | FIXED_FLAGS;
        if self.regs.rip >= USER_END as u64 {
            // Returning there would fault in the kernel, and on some processors with the user's stack pointer
            // (SDM volume 2, SYSRET). It is reported as the jump's own fault is.
            return fault_of_jump(self.regs.rip);
        }
        machine::run_user(self)
    }
}

/// What a jump to an address outside of the user half ends with: #GP for one that is not canonical.
#[cold]
fn fault_of_jump(address: u64) -> Trap {
    match address.cast_signed() >> 47 {
        0 | -1 => Trap::PageFault { address: address as usize, write: false, exec: true, present: false },
        _ => Trap::Exception { vector: 13, error: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosted;

    #[test]
    fn flags_and_addresses_are_corrected() {
        let mut context = UserContext::new(0x1000, 0x2000).unwrap();
        hosted::set_user(|context| {
            assert_eq!(context.regs.rflags, 0x202 | 0x40);
            Trap::Syscall
        });
        // Interrupts off, I/O privilege 3, virtual-8086 mode: not for user code. The zero flag is.
        context.regs.rflags = 1 << 17 | 3 << 12 | 0x40;
        assert_eq!(context.run(), Trap::Syscall);
        context.regs.rip = 0x8000_0000_0000;
        assert_eq!(context.run(), Trap::Exception { vector: 13, error: 0 });
        for address in [USER_END, 0xffff_8000_0000_0000, usize::MAX] {
            context.regs.rip = address as u64;
            let fault = Trap::PageFault { address, write: false, exec: true, present: false };
            assert_eq!(context.run(), fault);
        }
    }

    #[test]
    fn bases_stay_in_the_user_half() {
        let mut context = UserContext::new(0x1000, 0x2000).unwrap();
        assert!(context.set_fs_base(0x1234) && context.set_gs_base(0x5678));
        assert!(!context.set_fs_base(0xffff_8000_0000_0000));
        let clone = context.try_clone().unwrap();
        assert_eq!((clone.fs_base(), clone.gs_base()), (0x1234, 0x5678));
    }
}
