//! Faults of the program itself: which signal they become, and the report when nobody handles it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_hal::user::Registers;

use super::action::{Action, Disposition};
use super::{SigInfo, Signal};
use crate::mm::FaultKind;
use crate::process::Ctx;
use crate::report;

/// What the program did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It touched an address where nothing is.
    NotMapped {
        /// The address.
        address: usize,
        /// How.
        kind: FaultKind,
    },
    /// It touched an address in a way the area there does not allow.
    NotAllowed {
        /// The address.
        address: usize,
        /// How.
        kind: FaultKind,
    },
    /// It touched a page of a mapped file that does not exist.
    NoContent {
        /// The address.
        address: usize,
    },
    /// The processor raised an exception.
    Exception {
        /// Its number (Intel SDM volume 3, table 6-1).
        vector: u8,
        /// Its error code, 0 for those without one; of a debug exception what DR6 tells of its causes.
        error: u64,
    },
    /// The frame from which it returns to the code that a signal interrupted is not there, or not sound.
    SignalFrame,
    /// What it has registered for restartable sequences is not there, or not sound (rseq(2)).
    Sequence,
}

impl Fault {
    /// From an exception other than a page fault.
    pub fn from_exception(vector: u8, error: u64) -> Self {
        Self::Exception { vector, error }
    }

    /// The exception's number, as `trapno` in the signal frame.
    pub(super) fn trap_number(self) -> u64 {
        match self {
            Self::Exception { vector, .. } => u64::from(vector),
            Self::SignalFrame | Self::Sequence => 0,
            _ => 14,
        }
    }

    /// The address for the frame's `cr2`.
    pub(super) fn address(self) -> Option<usize> {
        match self {
            Self::NotMapped { address, .. }
            | Self::NotAllowed { address, .. }
            | Self::NoContent { address } => Some(address),
            Self::Exception { .. } | Self::SignalFrame | Self::Sequence => None,
        }
    }

    /// The page-fault error code (SDM volume 3, 4.7) or the exception's own.
    pub(super) fn error_code(self) -> u64 {
        let code = |kind: FaultKind, present: u64| {
            let how = match kind {
                FaultKind::Read => 0,
                FaultKind::Write => 2,
                FaultKind::Execute => 16,
            };
            how | present | 4
        };
        match self {
            Self::NotMapped { kind, .. } => code(kind, 0),
            Self::NotAllowed { kind, .. } => code(kind, 1),
            Self::NoContent { .. } => 4,
            Self::Exception { vector: 1, .. } | Self::SignalFrame | Self::Sequence => 0,
            Self::Exception { error, .. } => error,
        }
    }

    /// The signal and its `si_code` and `si_addr`, as `arch/x86/kernel/traps.c` has them.
    fn signal(self, registers: &Registers) -> SigInfo {
        const SEGV_MAPERR: i32 = 1;
        const SEGV_ACCERR: i32 = 2;
        const BUS_ADRALN: i32 = 1;
        const BUS_ADRERR: i32 = 2;
        const FPE_INTDIV: i32 = 1;
        const ILL_ILLOPN: i32 = 2;
        const TRAP_BRKPT: i32 = 1;
        const TRAP_TRACE: i32 = 2;
        const TRAP_HWBKPT: i32 = 4;
        let at = |signal, code, address: usize| SigInfo::fault(signal, code, address as u64);
        let here = registers.rip as usize;
        match self {
            Self::NotMapped { address, .. } => at(Signal::SEGV, SEGV_MAPERR, address),
            Self::NotAllowed { address, .. } => at(Signal::SEGV, SEGV_ACCERR, address),
            Self::NoContent { address } => at(Signal::BUS, BUS_ADRERR, address),
            Self::SignalFrame | Self::Sequence => SigInfo::kernel(Signal::SEGV),
            Self::Exception { vector, error } => match vector {
                0 => at(Signal::FPE, FPE_INTDIV, here),
                1 if error & 0x4000 != 0 => at(Signal::TRAP, TRAP_TRACE, here),
                1 if error != 0 => at(Signal::TRAP, TRAP_HWBKPT, here),
                3 => SigInfo::kernel(Signal::TRAP),
                6 => at(Signal::ILL, ILL_ILLOPN, here),
                16 | 19 => at(Signal::FPE, 0, here),
                17 => at(Signal::BUS, BUS_ADRALN, 0),
                11 | 12 => SigInfo::kernel(Signal::BUS),
                1 | 2 => at(Signal::TRAP, TRAP_BRKPT, here),
                // General protection and whatever else a program can cause.
                _ => SigInfo::kernel(Signal::SEGV),
            },
        }
    }
}

/// Sends the thread the signal of its own fault. Blocked or ignored, such a signal ends the process: the program cannot go on.
/// One that is about to end has no faults any more: memory that it did not get for that reason is none.
pub fn raise_fault(ctx: &mut Ctx, fault: Fault) {
    if ctx.thread.must_end() {
        return;
    }
    let info = fault.signal(&ctx.user.regs);
    let Some(signal) = Signal::new(info.signal as u32) else { return };
    if force(ctx, signal, info) {
        ctx.last_fault = Some(fault);
        return;
    }
    report::fault(ctx, signal, fault);
    ctx.fatal = Some(Box::new((signal, info)));
    ctx.thread.set_work();
}

/// Sends the thread a signal that it must deal with now (`force_sig_info`). False when it has no handler for it, blocks it, or there is no
/// memory: it cannot go on. A tracer sees it before.
pub fn force(ctx: &Ctx, signal: Signal, info: SigInfo) -> bool {
    let actions = Arc::clone(&ctx.thread.actions.lock());
    let action = actions.get(signal);
    let traced = ctx.thread.trace.is_traced();
    let mut signals = ctx.thread.signals.lock();
    let blocked = signals.mask.contains(signal);
    let caught = matches!(action.disposition, Disposition::Handler(_)) && !blocked;
    if traced && !caught {
        actions.set(signal, Action { disposition: Disposition::Default, ..action });
        signals.mask.remove(signal);
    }
    let waits = (caught || traced)
        && (signals.pending.set().contains(signal) || signals.pending.push(signal, info, None));
    drop(signals);
    if waits {
        ctx.thread.set_work();
    }
    waits
}
