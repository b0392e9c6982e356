//! Restartable sequences (rseq(2)): a thread reads in its own memory which CPU it is on, and code that must not be interrupted there begins again
//! where it was (`kernel/rseq.c`, and its `include/uapi/linux/rseq.h`).
//!
//! A thread that has none pays for one look when it is given a CPU and one at each interrupt; calls pay nothing.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use isopod_fs::Errno;
use isopod_hal::cpu;
use isopod_hal::paging::USER_END;

use super::Ctx;
use crate::fail::{Attempt, Stop};
use crate::mm::UserPtr;
use crate::signal::{Fault, raise_fault};
use crate::wait::pass;

/// The size of `struct rseq` at first, and its alignment.
pub const SIZE: u32 = 32;
/// How much of it has a meaning (`AT_RSEQ_FEATURE_SIZE`).
pub const FEATURE_SIZE: u32 = 28;

/// Where in `struct rseq` the critical section is named.
pub const CRITICAL: usize = 8;
/// Where its flags are, and the node with the number among the threads that run.
const FLAGS: usize = 16;
const NODE: usize = 20;

/// No CPU has been told.
const UNTOLD: u32 = u32::MAX;

/// What a thread has registered. Only itself changes it.
#[derive(Debug, Default)]
pub struct Rseq {
    /// Where its `struct rseq` is; 0 for none.
    address: AtomicUsize,
    length: AtomicU32,
    signature: AtomicU32,
    /// The CPU that was told last, if any was.
    cpu: AtomicU32,
    /// It has been given a CPU since it last left user code but for a call.
    switched: AtomicBool,
    /// Before it goes on with user code, that must be settled.
    due: AtomicBool,
}

impl Rseq {
    /// Address, length and signature; the address is 0 for none.
    pub fn registration(&self) -> (usize, u32, u32) {
        (self.address.load(Relaxed), self.length.load(Relaxed), self.signature.load(Relaxed))
    }

    /// Registers, or forgets with address 0.
    pub fn register(&self, (address, length, signature): (usize, u32, u32)) {
        self.address.store(address, Relaxed);
        self.length.store(length, Relaxed);
        self.signature.store(signature, Relaxed);
        self.cpu.store(UNTOLD, Relaxed);
        self.due.store(address != 0, Relaxed);
    }

    /// The thread has been given a CPU. True if it must be told before it goes on with user code.
    pub(super) fn given_cpu(&self) -> bool {
        if self.address.load(Relaxed) == 0 {
            return false;
        }
        self.switched.store(true, Relaxed);
        let moved = self.cpu.load(Relaxed) != cpu::id() as u32;
        if moved {
            self.due.store(true, Relaxed);
        }
        moved
    }

    /// User code was left, other than by a call.
    pub(super) fn left(&self) {
        self.switched.store(false, Relaxed);
    }

    /// It goes on. True if others have had the CPU meanwhile: what it was about to do begins again. In a call it may be in no section.
    pub(super) fn goes_on(&self) -> bool {
        let switched = self.switched.load(Relaxed) && self.address.load(Relaxed) != 0;
        if switched {
            self.due.store(true, Relaxed);
        }
        switched
    }

    /// What it is about to do begins again, if it is in a section.
    pub fn begin_again(&self) {
        if self.is_registered() {
            self.due.store(true, Relaxed);
        }
    }

    /// Takes the mark that there is something to settle.
    pub fn take_due(&self) -> bool {
        self.due.load(Relaxed) && self.due.swap(false, Relaxed)
    }

    /// It has registered something.
    pub fn is_registered(&self) -> bool {
        self.address.load(Relaxed) != 0
    }
}

/// `struct rseq_cs`: version and flags, start, length, where to begin again.
type Section = [u64; 4];

/// Leaves the critical section that the registers are in, for where it begins again, and tells the thread on which CPU it is. What is not sound is
/// an error, to be answered with SIGSEGV.
pub fn settle(ctx: &mut Ctx) -> Attempt<()> {
    let (address, _, signature) = ctx.thread.rseq.registration();
    let critical = UserPtr::<u64>::new(address + CRITICAL);
    let section = critical.get()?;
    if section != 0 {
        let rip = ctx.user.regs.rip;
        let [start, length, again] = section_at(section, signature)?;
        let inside = rip.wrapping_sub(start) < length;
        // Flags that once kept a section from beginning again are refused.
        if inside && UserPtr::<u32>::new(address + FLAGS).get()? != 0 {
            return Err(Errno::EINVAL.into());
        }
        critical.put(&0)?;
        if inside {
            ctx.user.regs.rip = again;
        }
    }
    let cpu = cpu::id() as u32;
    if ctx.thread.rseq.cpu.load(Relaxed) != cpu {
        tell(address, [cpu, cpu], cpu)?;
        ctx.thread.rseq.cpu.store(cpu, Relaxed);
    }
    Ok(())
}

/// Writes where a thread is. Its number among those of its memory that run is its CPU's; there is one node.
pub fn tell(address: usize, cpu: [u32; 2], number: u32) -> Attempt<()> {
    UserPtr::new(address).put(&cpu)?;
    Ok(UserPtr::new(address + NODE).put(&[0, number])?)
}

/// Start, length and the way out of the critical section described at `address`, if it is one.
fn section_at(address: u64, signature: u32) -> Attempt<[u64; 3]> {
    let end = USER_END as u64;
    if address >= end {
        return Err(Errno::EINVAL.into());
    }
    let [version_and_flags, start, length, again] = UserPtr::<Section>::new(address as usize).get()?;
    let fits = start < end && start.checked_add(length).is_some_and(|last| last < end) && again < end;
    if version_and_flags != 0 || !fits || again.wrapping_sub(start) < length {
        return Err(Errno::EINVAL.into());
    }
    // So that nobody who can write to memory leads the thread to just any code.
    if UserPtr::<u32>::new((again as usize).wrapping_sub(4)).get()? != signature {
        return Err(Errno::EINVAL.into());
    }
    Ok([start, length, again])
}

/// As [`settle`], which `stop` has stopped; boxed, as that is rare. False for what is not sound, which has been answered.
pub fn settle_after(ctx: &mut Ctx, mut stop: Stop) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
    Box::pin(async move {
        let memory = Arc::clone(&ctx.memory);
        loop {
            if pass(&memory, stop).await.is_err() {
                raise_fault(ctx, Fault::Sequence);
                return false;
            }
            stop = match settle(ctx) {
                Ok(()) => return true,
                Err(stop) => stop,
            };
        }
    })
}
