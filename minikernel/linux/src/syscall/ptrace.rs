//! ptrace(2)

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::{Capabilities, Errno};
use zerocopy::{FromBytes, IntoBytes};

use crate::fail::Attempt;
use crate::mm::{AddressSpace, UserPtr};
use crate::process::{Ctx, Held, Identity, Thread, With, find_thread};
use crate::seccomp::CallData;
use crate::signal::{SI_USER, SigInfo, SigSet, Signal, send_to_thread, with_pending};
use crate::trace::{self, Options, Reason, Resume, Stop, Tracee};

const TRACEME: u64 = 0;
const PEEKTEXT: u64 = 1;
const PEEKDATA: u64 = 2;
const PEEKUSER: u64 = 3;
const POKETEXT: u64 = 4;
const POKEDATA: u64 = 5;
const POKEUSER: u64 = 6;
const CONT: u64 = 7;
const KILL: u64 = 8;
const SINGLESTEP: u64 = 9;
const GETREGS: u64 = 12;
const SETREGS: u64 = 13;
const GETFPREGS: u64 = 14;
const SETFPREGS: u64 = 15;
const ATTACH: u64 = 16;
const DETACH: u64 = 17;
const SYSCALL: u64 = 24;
const SYSEMU: u64 = 31;
const SYSEMU_SINGLESTEP: u64 = 32;
const SETOPTIONS: u64 = 0x4200;
const GETEVENTMSG: u64 = 0x4201;
const GETSIGINFO: u64 = 0x4202;
const SETSIGINFO: u64 = 0x4203;
const GETREGSET: u64 = 0x4204;
const SETREGSET: u64 = 0x4205;
const SEIZE: u64 = 0x4206;
const INTERRUPT: u64 = 0x4207;
const LISTEN: u64 = 0x4208;
const PEEKSIGINFO: u64 = 0x4209;
const GETSIGMASK: u64 = 0x420a;
const SETSIGMASK: u64 = 0x420b;
const GET_SYSCALL_INFO: u64 = 0x420e;
const GET_RSEQ_CONFIGURATION: u64 = 0x420f;

/// Sets of registers, by the names of the notes in a core file.
const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;

/// Bytes of `struct user`.
const USER_AREA: usize = 928;
/// Where the debug registers begin there, in words, and the last of them.
const DEBUG: usize = 848 / 8;
const DEBUG_LAST: usize = DEBUG + 7;

/// ptrace(2)
pub fn ptrace(ctx: &mut Ctx, request: u64, pid: i32, address: usize, data: usize) -> Attempt {
    if request == TRACEME {
        let process = ctx.thread.process();
        let parent = process.parent.lock().upgrade().ok_or(Errno::EPERM)?;
        let own = ctx.thread.identity().capabilities.permitted;
        let thread = parent.thread(process.parent_thread.load(Ordering::Relaxed));
        if !thread.is_none_or(|thread| may_trace(&thread.identity(), own)) {
            return Err(Errno::EPERM.into());
        }
        trace::attach(&ctx.thread, &parent, false, Options::default())?;
        return Ok(0);
    }
    if request == ATTACH || request == SEIZE {
        let thread = u32::try_from(pid).ok().and_then(find_thread).ok_or(Errno::ESRCH)?;
        return attach(ctx, &thread, request == SEIZE, address, data);
    }
    let is_meant = |thread: &&Arc<Thread>| thread.tid() as i32 == pid;
    let thread = ctx.thread.process().tracees.lock().values().find(is_meant).cloned();
    act(ctx, &thread.ok_or(Errno::ESRCH)?, request, address, data)
}

/// Who has less may not trace who has `capabilities` (`cap_ptrace_traceme`).
fn may_trace(identity: &Identity, capabilities: Capabilities) -> bool {
    identity.capabilities.permitted.contains(capabilities) || identity.capable(Capabilities::SYS_PTRACE)
}

/// `PTRACE_ATTACH` and `PTRACE_SEIZE`
fn attach(ctx: &Ctx, thread: &Arc<Thread>, seize: bool, address: usize, data: usize) -> Attempt {
    if seize && address != 0 {
        return Err(Errno::EIO.into());
    }
    let options = if seize { options(data).map_err(|_| Errno::EIO)? } else { Options::default() };
    let own = Arc::ptr_eq(thread.process(), ctx.thread.process());
    // The kernel's own process has nothing to look at.
    let empty = thread.process().executable.lock().is_none();
    if own || empty {
        return Err(Errno::EPERM.into());
    }
    // What it executes it must not gain rights by while it is watched.
    let _held = Held::or_later(thread.process())?;
    if !ctx.thread.may_inspect(thread, With::RealIds) {
        return Err(Errno::EPERM.into());
    }
    trace::attach(thread, ctx.thread.process(), seize, options)?;
    if !seize {
        send_to_thread(thread, Signal::STOP, SigInfo::user(Signal::STOP, SI_USER, 0, 0))?;
    }
    Ok(0)
}

fn options(data: usize) -> Result<Options, Errno> {
    u32::try_from(data).ok().and_then(Options::from_bits).ok_or(Errno::EINVAL)
}

/// The signal with which a tracee is to go on.
fn signal(data: usize) -> Result<Option<Signal>, Errno> {
    if data > Signal::COUNT { Err(Errno::EIO) } else { Ok(Signal::new(data as u32)) }
}

fn act(ctx: &Ctx, thread: &Arc<Thread>, request: u64, address: usize, data: usize) -> Attempt {
    let trace = &thread.trace;
    match request {
        KILL => {
            let _ = send_to_thread(thread, Signal::KILL, SigInfo::user(Signal::KILL, SI_USER, 0, 0));
            return Ok(0);
        }
        INTERRUPT => {
            return if trace::interrupt(thread) { Ok(0) } else { Err(Errno::EIO.into()) };
        }
        _ => trace.stopped(|_| Ok(()))?,
    }
    match request {
        PEEKTEXT | PEEKDATA => {
            let mut word = [0; 8];
            peek(&thread.process().memory(), address, &mut word)?;
            UserPtr::new(data).put(&word)?;
        }
        POKETEXT | POKEDATA => poke(&thread.process().memory(), address, &data.to_le_bytes())?,
        PEEKUSER => {
            let word = trace.stopped(|tracee| user_word(thread, tracee, address))?;
            UserPtr::new(data).put(&word)?;
        }
        POKEUSER => trace.stopped(|tracee| set_user_word(thread, tracee, address, data as u64))?,
        CONT => trace.go_on(Resume::Continue, signal(data)?)?,
        SYSCALL => trace.go_on(Resume::Call, signal(data)?)?,
        SINGLESTEP => trace.go_on(Resume::Step, signal(data)?)?,
        SYSEMU => trace.go_on(Resume::Emulate, signal(data)?)?,
        SYSEMU_SINGLESTEP => trace.go_on(Resume::EmulateStep, signal(data)?)?,
        DETACH => trace::detach(ctx.thread.process(), thread, signal(data)?)?,
        LISTEN => trace.stopped(|tracee| {
            // In a stop of the whole process, or one that was asked for.
            match &mut tracee.stop {
                Some(stop) if tracee.seized && stop.code >> 8 == 128 => {
                    stop.listening = true;
                    Ok(())
                }
                _ => Err(Errno::EIO),
            }
        })?,
        SETOPTIONS => {
            let options = options(data)?;
            trace.running(|tracee| tracee.options = options)?;
        }
        GETEVENTMSG => {
            let message = trace.stopped(|tracee| Ok(tracee.message))?;
            UserPtr::new(data).put(&message)?;
        }
        GETSIGINFO => {
            let info = trace.stopped(|tracee| shown(tracee).map(|info| *info))?;
            UserPtr::new(data).put(&info.shown())?;
        }
        SETSIGINFO => {
            let info: SigInfo = UserPtr::new(data).get()?;
            trace.stopped(|tracee| shown(tracee).map(|place| *place = info.made_up(info.signal)))?;
        }
        GETSIGMASK | SETSIGMASK if address != size_of::<u64>() => return Err(Errno::EINVAL.into()),
        GETSIGMASK => UserPtr::new(data).put(&thread.mask().bits())?,
        SETSIGMASK => {
            let mask = UserPtr::new(data).get()?;
            thread.set_mask(SigSet::from_bits(mask));
        }
        PEEKSIGINFO => return peek_signals(thread, UserPtr::new(address), UserPtr::new(data)),
        GETREGS => get_set(thread, NT_PRSTATUS, data, usize::MAX).map(drop)?,
        SETREGS => put_set(thread, NT_PRSTATUS, data, size_of::<[u64; trace::GENERAL]>()).map(drop)?,
        GETFPREGS => get_set(thread, NT_PRFPREG, data, usize::MAX).map(drop)?,
        SETFPREGS => put_set(thread, NT_PRFPREG, data, trace::FLOATING).map(drop)?,
        GETREGSET | SETREGSET => {
            let place = UserPtr::<[u64; 2]>::new(data);
            let [base, length] = place.get()?;
            if length % 8 != 0 {
                return Err(Errno::EINVAL.into());
            }
            let (base, length) = (base as usize, length as usize);
            let done = if request == GETREGSET {
                get_set(thread, address as u64, base, length)?
            } else {
                put_set(thread, address as u64, base, length)?
            };
            UserPtr::new(data + 8).put(&(done as u64))?;
        }
        GET_SYSCALL_INFO => return call_info(thread, address, data),
        GET_RSEQ_CONFIGURATION => {
            // Address, size, signature, and flags of which there are none.
            let (sequences, length, signature) = thread.rseq.registration();
            let words = [sequences as u64, u64::from(signature) << 32 | u64::from(length), 0];
            UserPtr::<u8>::new(data).put_bytes(&words.as_bytes()[..address.min(size_of_val(&words))])?;
            return Ok(size_of_val(&words));
        }
        _ => return Err(Errno::EIO.into()),
    }
    Ok(0)
}

/// Fills `into` from the memory of a process; `EIO` where it cannot be read.
fn peek(memory: &AddressSpace, address: usize, into: &mut [u8]) -> Attempt<()> {
    let mut done = 0;
    while done < into.len() {
        done += memory.peek(address.wrapping_add(done), &mut into[done..])?;
    }
    Ok(())
}

/// Writes to the memory of a process, whether or not it may write there itself.
fn poke(memory: &AddressSpace, address: usize, from: &[u8]) -> Attempt<()> {
    let mut done = 0;
    while done < from.len() {
        done += memory.poke(address.wrapping_add(done), &from[done..])?;
    }
    Ok(())
}

/// The siginfo of the stop; `EINVAL` for one without.
fn shown(tracee: &mut Tracee) -> Result<&mut SigInfo, Errno> {
    tracee.stop.as_mut().and_then(|stop| stop.info.as_mut()).ok_or(Errno::EINVAL)
}

/// A word of `struct user`: the general registers come first, debug registers later. Of the rest nothing is kept.
fn user_word(thread: &Thread, tracee: &Tracee, at: usize) -> Result<u64, Errno> {
    if !at.is_multiple_of(8) || at >= USER_AREA {
        return Err(Errno::EIO);
    }
    Ok(match at / 8 {
        general @ 0..trace::GENERAL => trace::general(tracee)[general],
        debug @ DEBUG..=DEBUG_LAST => thread.breakpoints.lock().get(debug - DEBUG),
        _ => 0,
    })
}

/// Sets one. `EIO` for what cannot be set.
fn set_user_word(thread: &Thread, tracee: &mut Tracee, at: usize, word: u64) -> Result<(), Errno> {
    if !at.is_multiple_of(8) {
        return Err(Errno::EIO);
    }
    match at / 8 {
        general @ 0..trace::GENERAL => {
            let mut words = trace::general(tracee);
            words[general] = word;
            trace::set_general(tracee, &words)
        }
        debug @ DEBUG..=DEBUG_LAST => thread.breakpoints.lock().set(debug - DEBUG, word, &mut tracee.user),
        _ => Err(Errno::EIO),
    }
}

/// A set of registers as bytes; `EINVAL` for an unknown one.
fn set_of(tracee: &mut Tracee, kind: u64) -> Result<Vec<u8>, Errno> {
    match kind {
        NT_PRSTATUS => Ok(trace::general(tracee).as_bytes().to_vec()),
        NT_PRFPREG => {
            let mut image = trace::floating(tracee)?;
            image.truncate(trace::FLOATING);
            // The room for software is empty here.
            image[464..].fill(0);
            Ok(image)
        }
        NT_X86_XSTATE => trace::floating(tracee),
        _ => Err(Errno::EINVAL),
    }
}

/// Writes at most `room` bytes of a set of registers to `to`; how many.
fn get_set(thread: &Thread, kind: u64, to: usize, room: usize) -> Attempt {
    let bytes = thread.trace.stopped(|tracee| set_of(tracee, kind))?;
    let length = bytes.len().min(room);
    UserPtr::<u8>::new(to).put_bytes(&bytes[..length])?;
    Ok(length)
}

/// Takes at most `room` bytes of a set of registers from `from`; how many. What is beyond stays as it is.
fn put_set(thread: &Thread, kind: u64, from: usize, room: usize) -> Attempt {
    let mut bytes = thread.trace.stopped(|tracee| set_of(tracee, kind))?;
    let length = bytes.len().min(room);
    if kind == NT_X86_XSTATE && length < bytes.len() {
        return Err(Errno::EFAULT.into());
    }
    let given = UserPtr::<u8>::new(from).get_array(length)?;
    bytes[..length].copy_from_slice(&given);
    thread.trace.stopped(|tracee| match kind {
        NT_PRSTATUS => {
            let mut words = [0u64; trace::GENERAL];
            words.as_mut_bytes().copy_from_slice(&bytes);
            trace::set_general(tracee, &words)
        }
        _ => trace::set_floating(tracee, &bytes),
    })?;
    Ok(length)
}

/// `PTRACE_PEEKSIGINFO`: `struct ptrace_peeksiginfo_args` is an offset, flags and a count.
fn peek_signals(thread: &Thread, arguments: UserPtr<[u64; 2]>, to: UserPtr<SigInfo>) -> Attempt {
    const SHARED: u32 = 1;
    let [offset, rest] = arguments.get()?;
    let (flags, count) = (rest as u32, (rest >> 32) as i32);
    if flags & !SHARED != 0 || count < 0 {
        return Err(Errno::EINVAL.into());
    }
    let own = (flags & SHARED == 0).then_some(thread);
    let mut copied = 0;
    while copied < count as usize {
        let wanted = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(copied));
        let info = wanted.and_then(|at| with_pending(thread.process(), own, |pending| pending.nth(at)));
        let Some(info) = info else { break };
        to.element(copied).put(&info.shown())?;
        copied += 1;
    }
    Ok(copied)
}

/// `struct ptrace_syscall_info`, as far as it goes.
#[derive(Debug, Default, FromBytes, IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct CallInfo {
    operation: u32,
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    /// Number and arguments; or the result, and whether it is an error.
    words: [u64; 7],
    data: u64,
}

/// `PTRACE_GET_SYSCALL_INFO`: writes what fits into `room`, returns how much there is.
fn call_info(thread: &Thread, room: usize, to: usize) -> Attempt {
    const HEAD: usize = 24;
    let (info, length) = thread.trace.stopped(|tracee| {
        let r = &tracee.user.regs;
        let call = [tracee.call, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9];
        let failed = (-4095..0).contains(&r.rax.cast_signed());
        // A stop at a call that is not marked as one tells no more (`ptrace_get_syscall_info_op`).
        let reason = match &tracee.stop {
            Some(Stop { reason: reason @ Reason::Filter(_), .. }) => *reason,
            Some(Stop { reason, code, .. }) if code & 0x80 != 0 => *reason,
            _ => Reason::Other,
        };
        let (operation, words, data, length) = match reason {
            Reason::Other => (0, [0; 7], 0, HEAD),
            Reason::Entry => (1, call, 0, HEAD + 56),
            Reason::Exit => (2, [r.rax, u64::from(failed), 0, 0, 0, 0, 0], 0, HEAD + 9),
            Reason::Filter(data) => (3, call, u64::from(data), HEAD + 60),
        };
        let (instruction_pointer, stack_pointer) = (r.rip, r.rsp);
        let arch = CallData::ARCH;
        Ok((CallInfo { operation, arch, instruction_pointer, stack_pointer, words, data }, length))
    })?;
    UserPtr::<u8>::new(to).put_bytes(&info.as_bytes()[..length.min(room)])?;
    Ok(length)
}
