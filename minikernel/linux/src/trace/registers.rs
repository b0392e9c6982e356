//! Registers as tracers see them (`sys/user.h`, `arch/x86/kernel/ptrace.c`).

use alloc::vec::Vec;

use isopod_fs::Errno;
use isopod_hal::user::{Fpu, Invalid, UserContext};

use super::Tracee;

/// Words of `struct user_regs_struct`.
pub const GENERAL: usize = 27;
/// Bytes of `struct user_fpregs_struct`, which begins the extended state.
pub const FLOATING: usize = 512;

/// Segments as in Linux's GDT.
const CS: u64 = 0x33;
const SS: u64 = 0x2b;

/// The general registers of a tracee.
pub fn general(tracee: &Tracee) -> [u64; GENERAL] {
    general_of(&tracee.user, tracee.call)
}

/// The general registers of a thread that makes the system call `call`.
pub fn general_of(user: &UserContext, call: u64) -> [u64; GENERAL] {
    let UserContext { regs: r, .. } = user;
    let (fs, gs) = (user.fs_base(), user.gs_base());
    [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi,
        r.rdi, call, r.rip, CS, r.rflags, r.rsp, SS, fs, gs, 0, 0, 0, 0,
    ]
}

/// Sets them. `EIO` for segments and bases that user code cannot have.
pub fn set_general(tracee: &mut Tracee, words: &[u64; GENERAL]) -> Result<(), Errno> {
    let [
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        call,
        rip,
        cs,
        rflags,
        rsp,
        ss,
        fs,
        gs,
        data @ ..,
    ] = *words;
    // Selectors of the data segments mean nothing in 64-bit mode; one that is no user segment is refused all the same.
    let wrong = |selector: u64| selector != 0 && selector & 3 != 3;
    if cs != CS || ss != SS || data.into_iter().any(wrong) {
        return Err(Errno::EIO);
    }
    if !tracee.user.set_fs_base(fs) || !tracee.user.set_gs_base(gs) {
        return Err(Errno::EIO);
    }
    let r = &mut tracee.user.regs;
    (r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10) = (r15, r14, r13, r12, rbp, rbx, r11, r10);
    (r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi) = (r9, r8, rax, rcx, rdx, rsi, rdi);
    (r.rip, r.rflags, r.rsp) = (rip, rflags, rsp);
    tracee.call = call;
    Ok(())
}

/// Where the legacy region leaves room for software: a signal frame describes itself there, and here the components follow.
const SOFTWARE: usize = 464;

/// The floating-point state as a signal frame has it.
fn frame(fpu: &mut Fpu) -> Result<Vec<u8>, Errno> {
    let mut image = Vec::new();
    image.try_reserve_exact(Fpu::xsave_size()).map_err(|_| Errno::ENOMEM)?;
    image.resize(Fpu::xsave_size(), 0);
    let put = |at: usize, bytes: &[u8]| {
        image[at..at + bytes.len()].copy_from_slice(bytes);
        Ok::<_, Errno>(())
    };
    fpu.save(put)?;
    Ok(image)
}

/// The floating-point state as XSAVE lays it out, with the components that there are in the room for software.
pub fn floating(tracee: &mut Tracee) -> Result<Vec<u8>, Errno> {
    floating_of(&mut tracee.user.fpu)
}

/// The same of any thread.
pub fn floating_of(fpu: &mut Fpu) -> Result<Vec<u8>, Errno> {
    let mut image = frame(fpu)?;
    if image.len() > FLOATING {
        // Without the magic number at its end.
        image.truncate(image.len() - 4);
        image.copy_within(SOFTWARE + 8..SOFTWARE + 16, SOFTWARE);
    }
    image[SOFTWARE + 8..FLOATING].fill(0);
    Ok(image)
}

/// Takes over a floating-point state of which `bytes` are the beginning. `EINVAL` for one that the processor would refuse.
pub fn set_floating(tracee: &mut Tracee, bytes: &[u8]) -> Result<(), Errno> {
    // With what makes a signal frame of it.
    let mut image = frame(&mut tracee.user.fpu)?;
    let mut software = [0; FLOATING - SOFTWARE];
    software.copy_from_slice(&image[SOFTWARE..FLOATING]);
    let length = bytes.len().min(image.len().saturating_sub(4).max(FLOATING));
    image[..length].copy_from_slice(&bytes[..length]);
    image[SOFTWARE..FLOATING].copy_from_slice(&software);
    let get = |at: usize, into: &mut [u8]| {
        into.copy_from_slice(&image[at..at + into.len()]);
        Ok::<_, Invalid>(())
    };
    tracee.user.fpu.restore(get).map_err(|_| Errno::EINVAL)
}
