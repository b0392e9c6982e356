//! The processor's debug registers, as tracers set them for a thread (`arch/x86/kernel/ptrace.c`, `arch/x86/kernel/hw_breakpoint.c`).

use isopod_fs::Errno;
use isopod_hal::paging::USER_END;
use isopod_hal::user::UserContext;

use crate::process::Ctx;
use crate::signal::{self, Fault};

/// Breakpoints that there are.
const COUNT: usize = 4;
/// The numbers of the status and the control register.
const DR6: usize = 6;
const DR7: usize = 7;
/// Bits of DR6 that are always set; the status is kept with these turned round.
const RESERVED: u64 = 0xffff_0ff0;
/// What causes a debug exception besides breakpoints: a single step.
const STEP: u64 = 0x4000;
/// The flag with which the instruction at a breakpoint is executed all the same (SDM volume 3, section 18.3.1.1).
const RESUME_FLAG: u64 = 1 << 16;

/// The debug registers of a thread. It keeps them when nobody traces it any more.
#[derive(Debug, Default)]
pub struct Breakpoints {
    places: [Option<Breakpoint>; COUNT],
    status: u64,
    control: u64,
}

/// A breakpoint that has been set at some time.
#[derive(Debug, Clone, Copy)]
struct Breakpoint {
    address: u64,
    /// Its four bits in DR7: on what kind of access it is met, and its length.
    kind: u8,
    enabled: bool,
}

impl Breakpoint {
    const EXECUTE: u8 = 0;
    const WRITE: u8 = 1;
    const IO: u8 = 2;

    /// `EINVAL` for one that the processor does not know, or in the kernel.
    fn check(self) -> Result<Self, Errno> {
        let length = [1, 2, 8, 4][usize::from(self.kind >> 2 & 3)];
        let known = match self.kind & 3 {
            Self::EXECUTE => length == 1,
            access => access != Self::IO,
        };
        let of_user = self.address.checked_add(length).is_some_and(|end| end <= USER_END as u64);
        if known && of_user && self.address & (length - 1) == 0 { Ok(self) } else { Err(Errno::EINVAL) }
    }
}

impl Breakpoints {
    /// A register; 4 and 5 are none.
    pub fn get(&self, register: usize) -> u64 {
        match register {
            DR6 => self.status ^ RESERVED,
            DR7 => self.control,
            _ => self.places.get(register).copied().flatten().map_or(0, |place| place.address),
        }
    }

    /// Sets one.
    pub fn set(&mut self, register: usize, word: u64, user: &mut UserContext) -> Result<(), Errno> {
        match register {
            0..COUNT => {
                let place = &mut self.places[register];
                let unset = Breakpoint { address: 0, kind: Breakpoint::WRITE, enabled: false };
                *place = Some(Breakpoint { address: word, ..place.unwrap_or(unset) }.check()?);
            }
            DR6 => {
                self.status = word ^ RESERVED;
                return Ok(());
            }
            DR7 => {
                let mut places = self.places;
                for (index, place) in places.iter_mut().enumerate() {
                    let kind = (word >> (16 + 4 * index)) as u8 & 0xf;
                    let enabled = word >> (2 * index) & 3 != 0;
                    if enabled || place.is_some() {
                        let address = place.map_or(0, |place| place.address);
                        *place = Some(Breakpoint { address, kind, enabled }.check()?);
                    }
                }
                (self.places, self.control) = (places, word);
            }
            _ => return Err(Errno::EIO),
        }
        self.apply(user)
    }

    /// Those of a child of the thread: what it is told of its registers, but no breakpoints.
    pub fn of_child(&self) -> Self {
        Self { places: [None; COUNT], ..*self }
    }

    /// A bit for each that is enabled.
    fn enabled(&self) -> u64 {
        let enabled = |index: usize| self.places[index].is_some_and(|place| place.enabled);
        (0..COUNT).filter(|&index| enabled(index)).fold(0, |bits, index| bits | 1 << index)
    }

    /// Hands them to the processor.
    fn apply(&self, user: &mut UserContext) -> Result<(), Errno> {
        let mut addresses = [0; COUNT];
        let mut control = 0;
        for (index, (place, address)) in self.places.iter().zip(&mut addresses).enumerate() {
            if let Some(place) = place.filter(|place| place.enabled) {
                *address = place.address;
                control |= u64::from(place.kind) << (16 + 4 * index) | 2 << (2 * index);
            }
        }
        user.set_breakpoints(control, addresses).map_err(|_| Errno::ENOMEM)
    }
}

/// A debug exception, with what DR6 says of its causes (`exc_debug_user`).
#[cold]
#[inline(never)]
pub fn debug_exception(ctx: &mut Ctx, causes: u64) {
    let mut registers = ctx.thread.breakpoints.lock();
    let mut met = causes & registers.enabled();
    for (index, place) in registers.places.iter().enumerate() {
        if met & 1 << index != 0 && place.is_some_and(|place| place.kind & 3 == Breakpoint::EXECUTE) {
            if causes & STEP == 0 {
                ctx.user.regs.rflags |= RESUME_FLAG;
            } else {
                // The step comes first, the instruction with the next exception.
                met &= !(1 << index);
            }
        }
    }
    registers.status = causes & STEP | met;
    let told = registers.status;
    drop(registers);
    // Without any cause it was the instruction `int1`.
    if told != 0 || causes == 0 {
        signal::raise_fault(ctx, Fault::from_exception(1, told));
    }
}
