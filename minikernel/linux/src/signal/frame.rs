//! The frame that a handler finds on its stack, and the return from it (`arch/x86/kernel/signal_64.c`, `rt_sigframe`).

use alloc::sync::Arc;

use isopod_fs::Errno;
use isopod_hal::uaccess;
use isopod_hal::user::{Fpu, Registers};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::action::ActionFlags;
use super::{Action, AlternateStack, Fault, SigInfo, SigSet, Signal, raise_fault};
use crate::fail::{Attempt, Stop, SysResult};
use crate::mm::UserPtr;
use crate::process::Ctx;
use crate::wait::again;

/// `struct sigcontext_64`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct MachineContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    fpu: u64,
    reserved: [u64; 8],
}

/// `stack_t`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct StackDescription {
    /// `ss_sp`
    pub base: u64,
    /// `ss_flags`
    pub flags: i32,
    padding: i32,
    /// `ss_size`
    pub size: u64,
}

/// `SS_ONSTACK`: the stack is in use.
const SS_ONSTACK: i32 = 1;
/// `SS_DISABLE`: there is none.
const SS_DISABLE: i32 = 2;
/// `SS_AUTODISARM`
const SS_AUTODISARM: i32 = 1 << 31;

/// The smallest alternate stack that is accepted (`MINSIGSTKSZ`).
const MIN_STACK: usize = 2048;

/// How much stack a handler's frame takes at the most (`AT_MINSIGSTKSZ`).
pub fn minimum_stack() -> usize {
    size_of::<Frame>() + Fpu::xsave_size() + 64 + 16
}

impl StackDescription {
    /// How `stack` looks to a program whose stack pointer is `stack_pointer`.
    pub fn of(stack: AlternateStack, stack_pointer: u64) -> Self {
        let state = match stack {
            AlternateStack { size: 0, .. } => SS_DISABLE,
            stack if stack.contains(stack_pointer) => SS_ONSTACK,
            _ => 0,
        };
        let auto = if stack.auto_disarm { SS_AUTODISARM } else { 0 };
        Self { base: stack.base as u64, flags: state | auto, padding: 0, size: stack.size as u64 }
    }

    /// The stack that a program asks for (`sigaltstack(2)`).
    pub fn wanted(self) -> Result<AlternateStack, Errno> {
        let (base, size) = (self.base as usize, self.size as usize);
        let auto_disarm = self.flags & SS_AUTODISARM != 0;
        match self.flags & !SS_AUTODISARM {
            SS_DISABLE => Ok(AlternateStack { auto_disarm, ..AlternateStack::default() }),
            0 | SS_ONSTACK if size < MIN_STACK => Err(Errno::ENOMEM),
            0 | SS_ONSTACK => Ok(AlternateStack { base, size, auto_disarm }),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `struct rt_sigframe`
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Frame {
    return_address: u64,
    context: Context,
    info: SigInfo,
}

/// `struct ucontext`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Context {
    flags: u64,
    link: u64,
    stack: StackDescription,
    machine: MachineContext,
    mask: u64,
}

/// The frame has an extended state; ss was saved; ss is to be restored strictly (`uc_flags`).
const UC_FLAGS: u64 = 1 | 2 | 4;
/// The bytes below the stack pointer that a function may use without moving it (System V ABI, 3.2.2).
const RED_ZONE: u64 = 128;
/// User code and stack segments, as in Linux's GDT.
const USER_CS: u16 = 0x33;
const USER_SS: u16 = 0x2b;
/// Flags cleared on entry to a handler: trap, direction, resume.
const CLEARED_FLAGS: u64 = 1 << 8 | 1 << 10 | 1 << 16;

/// Pushes the frame of `signal` and sets the registers to enter the handler.
pub(super) fn push(
    ctx: &mut Ctx,
    signal: Signal,
    info: &SigInfo,
    action: Action,
    handler: usize,
) -> Attempt<()> {
    let (stack, mask) = {
        let signals = ctx.thread.signals.lock();
        (signals.stack, signals.saved_mask.unwrap_or(signals.mask))
    };
    let registers = &ctx.user.regs;
    let switch =
        action.flags.contains(ActionFlags::ON_STACK) && stack.size != 0 && !stack.contains(registers.rsp);
    let top = if switch {
        stack.base.wrapping_add(stack.size) as u64
    } else {
        registers.rsp.wrapping_sub(RED_ZONE)
    };
    let fpu_size = Fpu::xsave_size();
    let fpu = top.wrapping_sub(fpu_size as u64) & !63;
    // As after a call: the stack is aligned to 16 bytes before the return address was pushed.
    let at = (fpu.wrapping_sub(size_of::<Frame>() as u64) & !15).wrapping_sub(8);
    if (switch || stack.contains(registers.rsp)) && at < stack.base as u64 {
        return Err(Errno::EFAULT.into());
    }
    let fault = ctx.last_fault;
    let frame = Frame {
        return_address: action.restorer as u64,
        context: Context {
            flags: UC_FLAGS,
            link: 0,
            stack: StackDescription::of(stack, registers.rsp),
            machine: MachineContext {
                error: fault.map_or(0, Fault::error_code),
                trap: fault.map_or(0, Fault::trap_number),
                cr2: fault.and_then(Fault::address).unwrap_or(0) as u64,
                old_mask: mask.bits(),
                fpu,
                ..MachineContext::of(registers)
            },
            mask: mask.bits(),
        },
        info: info.shown(),
    };
    ctx.user.fpu.save(|offset, bytes| uaccess::copy_to_user((fpu as usize).wrapping_add(offset), bytes))?;
    uaccess::copy_to_user(at as usize, frame.as_bytes())?;
    ctx.last_fault = None;
    ctx.thread.signals.lock().saved_mask = None;
    let registers = &mut ctx.user.regs;
    registers.rdi = u64::from(signal.number());
    registers.rsi = at + core::mem::offset_of!(Frame, info) as u64;
    registers.rdx = at + core::mem::offset_of!(Frame, context) as u64;
    registers.rax = 0;
    registers.rsp = at;
    registers.rip = handler as u64;
    registers.rflags &= !CLEARED_FLAGS;
    if stack.auto_disarm && switch {
        ctx.thread.signals.lock().stack = AlternateStack::default();
    }
    Ok(())
}

/// `rt_sigreturn(2)`: undoes [`push`]. The value is that of the interrupted `rax`. A frame that is not sound ends in SIGSEGV: there is no
/// code to tell. What comes before the part that is not sound counts.
pub async fn return_from_handler(ctx: &mut Ctx) -> SysResult {
    let memory = Arc::clone(&ctx.memory);
    let result = again(&memory, || restore(ctx)).await;
    // Not a call that could be made again.
    ctx.restart = None;
    if result.is_err() {
        if let Ok(context) = Context::of(ctx) {
            context.apply(ctx);
        }
        raise_fault(ctx, Fault::SignalFrame);
    }
    Ok(result.unwrap_or(0))
}

/// `rt_sigreturn(2)` with a frame that is sound and there.
pub fn return_at_once(ctx: &mut Ctx) -> Option<SysResult> {
    let result = restore(ctx).ok()?;
    ctx.restart = None;
    Some(Ok(result))
}

/// Takes back what a frame holds, once all of it is known to be sound.
fn restore(ctx: &mut Ctx) -> Attempt {
    let context = Context::of(ctx)?;
    match context.machine.fpu as usize {
        0 => ctx.user.fpu.reset(),
        fpu => ctx.user.fpu.restore(|offset, bytes| {
            Ok::<_, Stop>(uaccess::copy_from_user(bytes, fpu.wrapping_add(offset))?)
        })?,
    }
    context.apply(ctx);
    let mut signals = ctx.thread.signals.lock();
    // A stack that could not be set is left aside, as is one where the one in use cannot be changed.
    if !signals.stack.contains(context.machine.rsp)
        && let Ok(stack) = context.stack.wanted()
    {
        signals.stack = stack;
    }
    Ok(context.machine.rax as usize)
}

impl Context {
    /// That of the frame whose handler returns: it has taken its return address from the stack.
    fn of(ctx: &Ctx) -> Result<Self, uaccess::Fault> {
        UserPtr::new(ctx.user.regs.rsp as usize).get()
    }

    /// Takes back the registers and the mask.
    fn apply(&self, ctx: &mut Ctx) {
        self.machine.apply(&mut ctx.user.regs);
        ctx.thread.set_mask(SigSet::from_bits(self.mask));
    }
}

impl MachineContext {
    fn of(r: &Registers) -> Self {
        Self {
            r8: r.r8,
            r9: r.r9,
            r10: r.r10,
            r11: r.r11,
            r12: r.r12,
            r13: r.r13,
            r14: r.r14,
            r15: r.r15,
            rdi: r.rdi,
            rsi: r.rsi,
            rbp: r.rbp,
            rbx: r.rbx,
            rdx: r.rdx,
            rax: r.rax,
            rcx: r.rcx,
            rsp: r.rsp,
            rip: r.rip,
            rflags: r.rflags,
            cs: USER_CS,
            gs: 0,
            fs: 0,
            ss: USER_SS,
            error: 0,
            trap: 0,
            old_mask: 0,
            cr2: 0,
            fpu: 0,
            reserved: [0; 8],
        }
    }

    /// Sets the registers; `hal` refuses flags and addresses that user code may not have.
    fn apply(&self, r: &mut Registers) {
        r.r8 = self.r8;
        r.r9 = self.r9;
        r.r10 = self.r10;
        r.r11 = self.r11;
        r.r12 = self.r12;
        r.r13 = self.r13;
        r.r14 = self.r14;
        r.r15 = self.r15;
        r.rdi = self.rdi;
        r.rsi = self.rsi;
        r.rbp = self.rbp;
        r.rbx = self.rbx;
        r.rdx = self.rdx;
        r.rax = self.rax;
        r.rcx = self.rcx;
        r.rsp = self.rsp;
        r.rip = self.rip;
        r.rflags = self.rflags;
    }
}

const _: () = assert!(size_of::<MachineContext>() == 256 && size_of::<StackDescription>() == 24);
