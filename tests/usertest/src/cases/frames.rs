//! Frames of signals that the handler damages before it returns: what the kernel takes from them, and what it refuses with SIGSEGV.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::*;

use super::faults::{attempt, with_handlers};
use crate::report::Report;
use crate::sys;

/// What is done to a frame.
type Damage = (&'static str, fn(&mut ucontext_t));

/// The damage that the handler is to do.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Addresses that no user code has.
const KERNEL: i64 = 0xffff_ffff_8000_0000_u64.cast_signed();
const NO_ADDRESS: i64 = 1 << 47;

/// Where the frame's floating-point state holds what (SDM volume 1, tables 10-2 and 13-1, `arch/x86/include/uapi/asm/sigcontext.h`).
const MXCSR: usize = 24;
const FIRST_MAGIC: usize = 464;
const EXTENDED_SIZE: usize = 468;
const STATE_SIZE: usize = 480;
const HEADER: usize = 512;

/// Writes into the frame's floating-point state.
fn change_state(context: &mut ucontext_t, at: usize, value: u32) {
    // SAFETY: the state has 576 bytes at least, of which `at` is one.
    unsafe { context.uc_mcontext.fpregs.cast::<u8>().add(at).cast::<u32>().write_unaligned(value) };
}

fn set(context: &mut ucontext_t, register: i32, value: i64) {
    context.uc_mcontext.gregs[register as usize] = value;
}

#[rustfmt::skip]
const DAMAGE: [Damage; 25] = [
    ("none", |_| ()),
    ("instruction_pointer_0", |context| set(context, REG_RIP, 0)),
    ("instruction_pointer_in_kernel", |context| set(context, REG_RIP, KERNEL)),
    ("instruction_pointer_no_address", |context| set(context, REG_RIP, NO_ADDRESS)),
    ("instruction_pointer_negative", |context| set(context, REG_RIP, -1)),
    ("stack_pointer_in_kernel", |context| set(context, REG_RSP, KERNEL)),
    ("stack_pointer_0", |context| set(context, REG_RSP, 0)),
    ("no_interrupts", |context| context.uc_mcontext.gregs[REG_EFL as usize] &= !(1 << 9)),
    ("all_of_io", |context| context.uc_mcontext.gregs[REG_EFL as usize] |= 3 << 12),
    ("virtual_machine", |context| context.uc_mcontext.gregs[REG_EFL as usize] |= 1 << 17 | 3 << 19),
    ("nested_task", |context| context.uc_mcontext.gregs[REG_EFL as usize] |= 1 << 14),
    ("no_state", |context| context.uc_mcontext.fpregs = std::ptr::null_mut()),
    ("state_nowhere", |context| context.uc_mcontext.fpregs = 64 as *mut _),
    ("state_in_kernel", |context| context.uc_mcontext.fpregs = KERNEL as *mut _),
    ("state_no_address", |context| context.uc_mcontext.fpregs = NO_ADDRESS as *mut _),
    ("state_with_unknown_flags", |context| change_state(context, MXCSR, !0)),
    ("state_without_magic", |context| change_state(context, FIRST_MAGIC, 0)),
    ("state_of_no_size", |context| change_state(context, EXTENDED_SIZE, 0)),
    ("state_of_any_size", |context| change_state(context, EXTENDED_SIZE, !0)),
    ("state_of_other_size", |context| change_state(context, STATE_SIZE, !0)),
    ("state_with_reserved_bits", |context| change_state(context, HEADER + 16, 1)),
    ("state_compacted", |context| change_state(context, HEADER + 12, 1 << 31)),
    ("all_blocked", |context| {
        // SAFETY: the set is a word in the frame; the C library's type is longer.
        unsafe { (&raw mut context.uc_sigmask).cast::<u64>().write(!0) };
    }),
    ("stack_too_small", |context| context.uc_stack.ss_size = 1),
    ("stack_with_unknown_flags", |context| context.uc_stack.ss_flags = 0x40),
];

extern "C" fn damage(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the frame's context, which nobody else uses.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    DAMAGE[CHOSEN.load(Relaxed)].1(context);
}

/// Sends this thread the signal whose handler damages its frame.
extern "C" fn get_signal(_: usize) {
    let _ = sys!(SYS_tkill, sys!(SYS_gettid).unwrap_or(0), SIGUSR1);
}

/// Runs the group.
pub fn run(t: &mut Report) {
    // SAFETY: the handler follows the kernel's interface.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = damage as *const () as usize;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    with_handlers(t, cases);
}

fn cases(t: &mut Report) {
    for (index, (name, _)) in DAMAGE.iter().enumerate() {
        CHOSEN.store(index, Relaxed);
        let end = attempt(get_signal, 0);
        // Which trap it was is left from an earlier one where the kernel itself refuses a frame.
        let end = end.split(" trap").next().unwrap_or_default().to_owned();
        let mut blocked = 0u64;
        let _ = sys!(SYS_rt_sigprocmask, SIG_SETMASK, &0u64, &mut blocked, 8);
        let mut stack = sys::zeroed::<stack_t>();
        let _ = sys!(SYS_sigaltstack, 0, &mut stack);
        t.show(name, format!("{end}, blocked {blocked:x}, stack {} {}", stack.ss_flags, stack.ss_size));
    }
}
