//! Sets of registers, and memory.

use libc::*;

use super::super::helpers::{NOWHERE, close, status_of};
use super::{broken, end, go, registers, set_registers, sleeper, tracee};
use crate::report::Report;
use crate::sys::Errno;

pub(super) fn register_sets(t: &mut Report) {
    let pid = tracee(|| 0);
    let mut general = [0u64; 40];
    let mut part = [general.as_mut_ptr() as usize, 320];
    t.call("general", trace!(PTRACE_GETREGSET, pid, 1, &mut part));
    t.show("general_size", part[1]);
    t.show("segments", format!("{:x?}", [general[17], general[20], general[23], general[24]]));
    let mut floating = [0u8; 512];
    t.call("floating", trace!(PTRACE_GETFPREGS, pid, 0, &mut floating));
    // The flags of what has been calculated before are no part of it.
    floating[24] &= !0x3f;
    t.show("floating_control", format!("{:x?}", [&floating[..2], &floating[24..28]]));
    floating[160..168].copy_from_slice(b"register");
    t.call("set_floating", trace!(PTRACE_SETFPREGS, pid, 0, &floating));
    let mut extended = [0u8; 8192];
    let mut part = [extended.as_mut_ptr() as usize, 8192];
    t.call("extended", trace!(PTRACE_GETREGSET, pid, 0x202, &mut part));
    t.show("extended_xmm", String::from_utf8_lossy(&extended[160..168]));
    t.is("extended_components", extended[464] & 3 == 3 && part[1] >= 576);
    t.call("set_extended", trace!(PTRACE_SETREGSET, pid, 0x202, &mut part));
    floating[27] = 0xff;
    t.call("set_floating_bad", trace!(PTRACE_SETFPREGS, pid, 0, &floating));
    let mut r = registers(pid);
    let good = r;
    r.cs = 0x10;
    t.call("set_kernel_code", set_registers(pid, &r));
    r = good;
    r.fs_base = 0xffff_8000_0000_0000;
    t.call("set_kernel_base", set_registers(pid, &r));
    t.call("poke_register", trace!(PTRACE_POKEUSER, pid, 0, 0x1234));
    t.show("poked", format!("{:x}", registers(pid).r15));
    t.call("poke_beyond", trace!(PTRACE_POKEUSER, pid, 4096, 0));
    end(pid);
}

pub(super) fn memory(t: &mut Report) {
    let mut place = *b"before..";
    let at = place.as_mut_ptr() as usize;
    let pid = tracee(|| i32::from(place[0]));
    let vector = |bytes: &[u8]| [bytes.as_ptr() as usize, bytes.len()];
    let read = [0u8; 8];
    let remote = |address: usize, length: usize| [address, length];
    t.call("vm_read", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 0));
    t.show("vm_read_text", String::from_utf8_lossy(&read));
    t.call("vm_write", sys!(SYS_process_vm_writev, pid, &vector(b"after"), 1, &remote(at, 5), 1, 0));
    t.call("vm_nowhere", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(NOWHERE, 6), 1, 0));
    let halves = [remote(at, 4), remote(NOWHERE, 4)];
    t.call("vm_partly", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &halves, 2, 0));
    let text = broken as *const () as usize;
    t.call("vm_write_text", sys!(SYS_process_vm_writev, pid, &vector(b"x"), 1, &remote(text, 1), 1, 0));
    t.call("vm_flags", sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 1));
    t.call("vm_many", sys!(SYS_process_vm_readv, pid, &vector(&read), 2000, &remote(at, 6), 1, 0));
    t.call("vm_missing", sys!(SYS_process_vm_readv, 0x3f_ffff, &vector(&read), 1, &remote(at, 6), 1, 0));
    let path = std::ffi::CString::new(format!("/proc/{pid}/mem")).expect("no NUL");
    let file = super::super::helpers::must_open(&path, O_RDWR);
    t.call("mem_read", sys!(SYS_pread64, file, &read, 8, at));
    t.show("mem_text", String::from_utf8_lossy(&read));
    t.call("mem_write", sys!(SYS_pwrite64, file, b"zzz", 3, at));
    t.call("mem_write_text", sys!(SYS_pwrite64, file, b"\xcc", 1, text));
    t.call("mem_nowhere", sys!(SYS_pread64, file, &read, 8, NOWHERE));
    t.call("mem_seek_end", sys!(SYS_lseek, file, 0, SEEK_END));
    t.call("mem_seek", sys!(SYS_lseek, file, 4096, SEEK_SET));
    // SAFETY: this program's own code.
    t.is("mem_own_text", unsafe { (text as *const u8).read() } != 0xcc);
    t.show("mem_seen", go(PTRACE_CONT, pid, 0));
    t.call("mem_of_nobody", sys!(SYS_pread64, file, &read, 8, at));
    close(file);
    let pid = sleeper();
    let refused = status_of(|| {
        let _ = sys!(SYS_setresuid, 1234, 1234, 1234);
        let read = sys!(SYS_process_vm_readv, pid, &vector(&read), 1, &remote(at, 6), 1, 0);
        read.err().map_or(0, |errno| errno.0)
    });
    t.show("vm_unprivileged", Errno(refused));
    end(pid);
}
