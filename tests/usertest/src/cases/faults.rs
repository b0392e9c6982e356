//! Memory accesses and instructions that fail: which signal, which code, which address.
//!
//! A handler notes what it was told and lets the program go on behind the instruction that failed.

use std::arch::{asm, naked_asm};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libc::*;

use super::helpers::{close, must_open, put};
use crate::report::Report;

static SIGNAL: AtomicUsize = AtomicUsize::new(0);
static CODE: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static TRAP: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note(signal: i32, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both structures; `r15` holds the place to go on at, as `attempt` left it.
    unsafe {
        SIGNAL.store(signal as usize, Relaxed);
        CODE.store((*info).si_code as isize as usize, Relaxed);
        ADDRESS.store((*info).si_addr() as usize, Relaxed);
        let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        TRAP.store(registers[REG_TRAPNO as usize] as usize, Relaxed);
        registers[REG_RIP as usize] = registers[REG_R15 as usize];
    }
}

/// Runs `action` in a place from which the handler can return; says which signal ended it, if one did.
pub(super) fn attempt(action: extern "C" fn(usize), argument: usize) -> String {
    SIGNAL.store(0, Relaxed);
    // SAFETY: all registers that the action or the handler's jump may change are declared; the stack pointer is
    // brought back from r14.
    unsafe {
        asm!(
            "mov r14, rsp",
            "lea r15, [rip + 2f]",
            "and rsp, -16",
            "call {action}",
            "2:",
            "mov rsp, r14",
            action = in(reg) action,
            inout("rdi") argument => _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("C"),
        );
    }
    let signal = SIGNAL.load(Relaxed) as i32;
    let name = match signal {
        0 => return "no signal".to_owned(),
        SIGSEGV => "SIGSEGV",
        SIGBUS => "SIGBUS",
        SIGILL => "SIGILL",
        SIGFPE => "SIGFPE",
        SIGTRAP => "SIGTRAP",
        _ => "another signal",
    };
    let place = ADDRESS.load(Relaxed);
    let place = if place == argument {
        "at the address".to_owned()
    } else if place == 0 {
        "at 0".to_owned()
    } else {
        "elsewhere".to_owned()
    };
    format!("{name} code {} {place} trap {}", CODE.load(Relaxed) as isize, TRAP.load(Relaxed))
}

#[unsafe(naked)]
extern "C" fn read(address: usize) {
    naked_asm!("mov al, [rdi]", "ret")
}

#[unsafe(naked)]
extern "C" fn write(address: usize) {
    naked_asm!("mov byte ptr [rdi], 1", "ret")
}

#[unsafe(naked)]
extern "C" fn jump(address: usize) {
    naked_asm!("call rdi", "ret")
}

#[unsafe(naked)]
extern "C" fn divide(_: usize) {
    naked_asm!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "div ecx", "ret")
}

#[unsafe(naked)]
extern "C" fn undefined(_: usize) {
    naked_asm!("ud2", "ret")
}

#[unsafe(naked)]
extern "C" fn breakpoint(_: usize) {
    naked_asm!("int3", "ret")
}

#[unsafe(naked)]
extern "C" fn privileged(_: usize) {
    naked_asm!("hlt", "ret")
}

#[unsafe(naked)]
extern "C" fn port(_: usize) {
    naked_asm!("mov dx, 0x3f8", "in al, dx", "ret")
}

#[unsafe(naked)]
extern "C" fn overflow_stack(_: usize) {
    naked_asm!("3:", "sub rsp, 4096", "mov qword ptr [rsp], 0", "jmp 3b")
}

/// Has faults noted while `body` runs, and handled on a stack of their own.
pub(super) fn with_handlers(t: &mut Report, body: fn(&mut Report)) {
    let stack = sys!(SYS_mmap, 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        .expect("a stack");
    let alternate = stack_t { ss_sp: stack as *mut c_void, ss_flags: 0, ss_size: 65536 };
    sys!(SYS_sigaltstack, &alternate, 0).expect("an alternate stack");
    let signals = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP];
    // SAFETY: the handler follows the kernel's interface.
    let old = signals.map(|signal| unsafe {
        let mut action: sigaction = std::mem::zeroed();
        let mut old: sigaction = std::mem::zeroed();
        action.sa_sigaction = note as *const () as usize;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(signal, &raw const action, &raw mut old);
        old
    });
    body(t);
    for (signal, old) in signals.into_iter().zip(old) {
        // SAFETY: puts back what was there.
        unsafe { sigaction(signal, &raw const old, std::ptr::null_mut()) };
    }
    let off = stack_t { ss_sp: std::ptr::null_mut(), ss_flags: SS_DISABLE, ss_size: 0 };
    t.call("alternate_stack_off", sys!(SYS_sigaltstack, &off, 0));
}

/// Runs the group.
pub fn run(t: &mut Report) {
    with_handlers(t, cases);
}

fn cases(t: &mut Report) {
    accesses(t);
    t.show("divide_by_zero", attempt(divide, 1));
    t.show("undefined_instruction", attempt(undefined, 1));
    t.show("breakpoint", attempt(breakpoint, 1));
    t.show("privileged_instruction", attempt(privileged, 1));
    t.show("port", attempt(port, 1));
    t.show("stack_overflow", attempt(overflow_stack, 1).replace(" elsewhere", ""));
}

fn accesses(t: &mut Report) {
    t.show("read_null", attempt(read, 0));
    t.show("write_null_page", attempt(write, 8));
    t.show("jump_null", attempt(jump, 0));
    t.show("jump_kernel", attempt(jump, 0xffff_ffff_8000_0000));
    t.show("jump_last_page", attempt(jump, 0x7fff_ffff_f000));
    t.show("jump_non_canonical", attempt(jump, 0x8000_0000_0000_0000));
    t.show("read_kernel", attempt(read, 0xffff_ffff_8000_0000));
    t.show("read_non_canonical", attempt(read, 0x8000_0000_0000_0000));
    let map =
        |protection| sys!(SYS_mmap, 0, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("a page");
    t.show("write_read_only", attempt(write, map(PROT_READ)));
    t.show("read_read_only", attempt(read, map(PROT_READ)));
    t.show("read_none", attempt(read, map(PROT_NONE)));
    t.show("execute_data", attempt(jump, map(PROT_READ | PROT_WRITE)));
    t.show("write_own_code", attempt(write, attempt as *const () as usize));
    let gone = map(PROT_READ);
    sys!(SYS_munmap, gone, 4096).expect("gone");
    t.show("read_unmapped", attempt(read, gone));
    put("file", "short");
    let fd = must_open(c"file", O_RDWR);
    let at = sys!(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).expect("a mapping");
    t.show("read_file", attempt(read, at));
    t.show("read_beyond_file", attempt(read, at + 4096));
    t.show("write_beyond_file", attempt(write, at + 4096));
    sys!(SYS_ftruncate, fd, 0).expect("an empty file");
    t.show("read_truncated", attempt(read, at));
    t.call("call_with_truncated", sys!(SYS_pwrite64, fd, at, 1, 0));
    close(fd);
}
