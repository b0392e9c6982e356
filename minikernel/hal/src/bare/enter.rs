//! To ring 3 and back.

use core::{
    arch::{asm, global_asm},
    mem::offset_of,
};

use super::{
    debug,
    entry::EFER,
    fpu,
    percpu::{self, PerCpu},
    registers::{cr2, rdmsr, wrmsr},
    segments::{KERNEL_CODE, KERNEL_STACK, USER_BASE, USER_CODE, USER_STACK},
    shootdown,
    vectors::{self, PAGE_FAULT},
};
use crate::{
    cpu::features,
    user::{Registers, Trap, UserContext},
};

/// Stands for the `syscall` instruction among the vectors.
const SYSCALL: u64 = 256;

/// As the entry tells it.
const DEBUG: u64 = vectors::DEBUG as u64;

/// Model-specific registers of `syscall` (SDM volume 3, section 5.8.8).
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const SFMASK: u32 = 0xc000_0084;
/// Flags that the kernel runs without: trap, interrupt, direction, privilege level, nested task, resume, alignment check.
const CLEARED_FLAGS: u64 = 0x5_7700;

/// Lets the CPU take system calls.
///
/// # Safety
/// The per-CPU data and the segments are in place.
pub(super) unsafe fn install() {
    // SAFETY: the registers exist in every 64-bit processor; the entry follows the rules of the instruction.
    unsafe {
        wrmsr(STAR, u64::from(USER_BASE) << 48 | u64::from(KERNEL_CODE) << 32);
        wrmsr(LSTAR, syscall_entry as *const () as u64);
        wrmsr(SFMASK, CLEARED_FLAGS);
        // SCE, and NXE where pages can forbid execution.
        wrmsr(EFER, rdmsr(EFER) | 1 | u64::from(features().nx) << 11);
    }
}

/// Runs the thread until it traps. The way of a system call is inlined; all else is out of it.
#[expect(clippy::inline_always, reason = "the way of every system call")]
#[inline(always)]
pub(crate) fn run_user(context: &mut UserContext) -> Trap {
    let area = context.fpu.area_pointer();
    let cpu = PerCpu::get();
    // Since the thread was given the CPU nobody else has loaded its state.
    if !cpu.unsaved.get() || cpu.owner.get() != area {
        fpu::take(cpu, area);
    }
    shootdown::begin(cpu);
    // SAFETY: the registers and the area belong to `context`, which is borrowed meanwhile; the area's registers have
    // just been loaded. What user code does stays in the active address space.
    let outcome = unsafe { enter_user(&raw mut context.regs, area) };
    shootdown::end(cpu);
    if outcome.vector == SYSCALL { Trap::Syscall } else { outcome.into_trap() }
}

/// Why user code stopped, in two registers.
#[repr(C)]
struct Outcome {
    vector: u64,
    error: u64,
}

impl Outcome {
    #[cold]
    #[inline(never)]
    fn into_trap(self) -> Trap {
        if features().smap {
            // An interrupt gate leaves the user's AC flag on, which would lift the protection (SDM volume 3, 4.6.1).
            // SAFETY: the processor has SMAP and so the instruction.
            unsafe { asm!("clac", options(nomem, nostack)) };
        }
        match self.vector {
            PAGE_FAULT => Trap::PageFault {
                address: cr2(),
                write: self.error & 2 != 0,
                exec: self.error & 16 != 0,
                present: self.error & 1 != 0,
            },
            DEBUG => Trap::Exception { vector: DEBUG as u8, error: debug::take_causes() },
            vector @ 0..32 => Trap::Exception { vector: vector as u8, error: self.error },
            vector => Trap::Interrupt(vector as u8),
        }
    }
}

unsafe extern "C" {
    /// Loads `registers` and the vector registers of `area`, goes to ring 3, and returns when it traps, with the
    /// registers stored in the same places.
    fn enter_user(registers: *mut Registers, area: *mut u8) -> Outcome;
    /// Target of the `syscall` instruction. Not to be called.
    fn syscall_entry();
}

/// MXCSR of the kernel's own code: the initial value, all exceptions masked.
static KERNEL_MXCSR: u32 = 0x1f80;

global_asm!(
    ".pushsection .text, \"ax\"",

    // Vector registers lie in the area as FXSAVE lays them out: MXCSR at 24, xmm0 at 160, and so on.
    ".macro each_vector_register load",
    ".set n, 0",
    ".irp register, xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15",
    ".if \\load",
    "movaps \\register, [rsi + 160 + n]",
    ".else",
    "movaps [rsi + 160 + n], \\register",
    ".endif",
    ".set n, n + 16",
    ".endr",
    ".endm",

    // All registers but rdi, rsp, and the two that `sysret` uses itself.
    ".macro load_registers",
    "mov rax, [rdi + {RAX}]",
    "mov rbx, [rdi + {RBX}]",
    "mov rdx, [rdi + {RDX}]",
    "mov rsi, [rdi + {RSI}]",
    "mov rbp, [rdi + {RBP}]",
    "mov r8, [rdi + {R8}]",
    "mov r9, [rdi + {R9}]",
    "mov r10, [rdi + {R10}]",
    "mov r12, [rdi + {R12}]",
    "mov r13, [rdi + {R13}]",
    "mov r14, [rdi + {R14}]",
    "mov r15, [rdi + {R15}]",
    ".endm",

    ".macro store_registers at",
    "mov [\\at + {RAX}], rax",
    "mov [\\at + {RBX}], rbx",
    "mov [\\at + {RCX}], rcx",
    "mov [\\at + {RDX}], rdx",
    "mov [\\at + {RSI}], rsi",
    "mov [\\at + {RBP}], rbp",
    "mov [\\at + {R8}], r8",
    "mov [\\at + {R9}], r9",
    "mov [\\at + {R10}], r10",
    "mov [\\at + {R11}], r11",
    "mov [\\at + {R12}], r12",
    "mov [\\at + {R13}], r13",
    "mov [\\at + {R14}], r14",
    "mov [\\at + {R15}], r15",
    ".endm",

    ".globl enter_user",
    "enter_user:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov gs:[{STACK}], rsp",
    "mov gs:[{REGISTERS}], rdi",
    "mov gs:[{AREA}], rsi",
    "ldmxcsr [rsi + 24]",
    "each_vector_register 1",
    // After a system call rcx and r11 hold rip and rflags, unless the kernel has changed something: then `sysret`,
    // which takes them from there, restores all. It cannot resume with the trap or the resume flag.
    "mov rcx, [rdi + {RIP}]",
    "mov r11, [rdi + {RFLAGS}]",
    "cmp rcx, [rdi + {RCX}]",
    "jne 2f",
    "cmp r11, [rdi + {R11}]",
    "jne 2f",
    "test r11d, 0x10100",
    "jnz 2f",
    "load_registers",
    "mov rsp, [rdi + {RSP}]",
    "mov rdi, [rdi + {RDI}]",
    "swapgs",
    "sysretq",
    "2:",
    "push {USER_STACK}",
    "push [rdi + {RSP}]",
    "push r11",
    "push {USER_CODE}",
    "push rcx",
    "load_registers",
    "mov rcx, [rdi + {RCX}]",
    "mov r11, [rdi + {R11}]",
    "mov rdi, [rdi + {RDI}]",
    "swapgs",
    "iretq",

    // On the entry stack: vector, error, rip, cs, rflags, rsp, ss.
    ".globl user_trap",
    "user_trap:",
    "swapgs",
    "mov gs:[{SCRATCH}], rdi",
    "mov rdi, gs:[{REGISTERS}]",
    "store_registers rdi",
    "mov rax, gs:[{SCRATCH}]",
    "mov [rdi + {RDI}], rax",
    "pop rax",
    "pop rdx",
    "pop [rdi + {RIP}]",
    "pop rcx",
    "pop [rdi + {RFLAGS}]",
    "pop [rdi + {RSP}]",
    "mov ecx, {KERNEL_STACK}",
    "mov ss, ecx",
    "jmp leave_user",

    // Interrupts are off, the stack pointer is still the user's: it serves to address the registers, as no other
    // register is free. Only NMI and machine check could come here, and they bring their own stacks.
    ".globl syscall_entry",
    "syscall_entry:",
    "swapgs",
    "mov gs:[{SCRATCH}], rsp",
    "mov rsp, gs:[{REGISTERS}]",
    "store_registers rsp",
    "mov [rsp + {RDI}], rdi",
    "mov [rsp + {RIP}], rcx",
    "mov [rsp + {RFLAGS}], r11",
    "mov rax, gs:[{SCRATCH}]",
    "mov [rsp + {RSP}], rax",
    "mov eax, {SYSCALL}",

    // Back to whoever called `enter_user`, with the vector in rax and the error code in rdx.
    "leave_user:",
    "mov rsi, gs:[{AREA}]",
    "each_vector_register 0",
    "stmxcsr [rsi + 24]",
    "ldmxcsr [rip + {KERNEL_MXCSR}]",
    "mov rsp, gs:[{STACK}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".popsection",
    RAX = const offset_of!(Registers, rax),
    RBX = const offset_of!(Registers, rbx),
    RCX = const offset_of!(Registers, rcx),
    RDX = const offset_of!(Registers, rdx),
    RSI = const offset_of!(Registers, rsi),
    RDI = const offset_of!(Registers, rdi),
    RBP = const offset_of!(Registers, rbp),
    RSP = const offset_of!(Registers, rsp),
    R8 = const offset_of!(Registers, r8),
    R9 = const offset_of!(Registers, r9),
    R10 = const offset_of!(Registers, r10),
    R11 = const offset_of!(Registers, r11),
    R12 = const offset_of!(Registers, r12),
    R13 = const offset_of!(Registers, r13),
    R14 = const offset_of!(Registers, r14),
    R15 = const offset_of!(Registers, r15),
    RIP = const offset_of!(Registers, rip),
    RFLAGS = const offset_of!(Registers, rflags),
    STACK = const percpu::STACK,
    REGISTERS = const percpu::REGISTERS,
    AREA = const percpu::AREA,
    SCRATCH = const percpu::SCRATCH,
    USER_STACK = const USER_STACK,
    USER_CODE = const USER_CODE,
    KERNEL_STACK = const KERNEL_STACK,
    SYSCALL = const SYSCALL,
    KERNEL_MXCSR = sym KERNEL_MXCSR,
);
