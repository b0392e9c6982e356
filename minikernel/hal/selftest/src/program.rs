//! User programs: pieces of machine code, and the address space to run them in.

use core::arch::global_asm;

use isopod_hal::{
    PAGE_SIZE,
    frame::Frame,
    paging::{Access, PageTable},
    user::{Trap, UserContext},
};

/// Where programs lie.
pub const CODE: usize = 0x40_0000;
/// A page for data; the next one cannot be written, the one behind it does not exist.
pub const DATA: usize = 0x60_0000;
/// The stack's upper end.
pub const STACK: usize = 0x7fff_0000_0000;

pub const RW: Access = Access::READ.union(Access::WRITE);
pub const RX: Access = Access::READ.union(Access::EXEC);

/// An address space with a program.
pub struct Program {
    pub space: PageTable,
    pub data: Frame,
    pub context: UserContext,
}

impl Program {
    /// Loads `code`, at most a page, and activates its address space.
    pub fn load(code: &[u8]) -> Self {
        let mut space = PageTable::new().unwrap();
        let text = Frame::zeroed().unwrap();
        text.write(0, code);
        let data = Frame::zeroed().unwrap();
        space.map(CODE, text, RX).unwrap();
        space.map(DATA, data.clone(), RW).unwrap();
        space.map(DATA + PAGE_SIZE, Frame::zeroed().unwrap(), Access::READ).unwrap();
        space.map(STACK - PAGE_SIZE, Frame::zeroed().unwrap(), RW).unwrap();
        space.activate();
        let context = UserContext::new(CODE as u64, STACK as u64).unwrap();
        Self { space, data, context }
    }

    /// Runs until the next trap, passing over interrupts.
    pub fn run(&mut self) -> Trap {
        loop {
            match self.context.run() {
                Trap::Interrupt(vector) => isopod_hal::irq::dispatch(vector),
                trap => return trap,
            }
        }
    }
}

macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident: $($line:literal)*;)*) => {
        $(
            global_asm!(
                ".pushsection .rodata, \"a\"",
                concat!(stringify!($name), "_code:"),
                $($line,)*
                concat!(stringify!($name), "_end:"),
                ".popsection",
            );

            $(#[$doc])*
            pub fn $name() -> &'static [u8] {
                let (start, end): (*const u8, *const u8);
                // SAFETY: the two labels enclose constants.
                unsafe {
                    core::arch::asm!(
                        concat!("lea {}, [rip + ", stringify!($name), "_code]"),
                        concat!("lea {}, [rip + ", stringify!($name), "_end]"),
                        out(reg) start, out(reg) end,
                        options(nomem, nostack, preserves_flags),
                    );
                    core::slice::from_raw_parts(start, end.offset_from_unsigned(start))
                }
            }
        )*
    };
}

programs! {
    /// Calls with what it finds in the registers, for ever.
    call: "2: syscall" "jmp 2b";
    /// Calls with a number that counts upwards.
    count: "2: syscall" "inc rax" "jmp 2b";
    /// Loops.
    spin: "2: inc rbx" "jmp 2b";
    /// Divides by zero.
    divide: "xor edx, edx" "xor ecx, ecx" "div ecx";
    /// Breaks.
    breakpoint: "int3";
    /// Is no instruction.
    invalid: "ud2";
    /// Stops the processor.
    halt: "hlt";
    /// Switches interrupts off.
    disable: "cli";
    /// Reads a port.
    port: "in al, 0x60";
    /// Calls Linux' 32-bit gate.
    gate: "int 0x80";
    /// Reads the interrupt table's address into rax.
    table: "sub rsp, 16" "sidt [rsp]" "mov rax, [rsp + 2]" "syscall";
    /// Loads from rdi, then calls.
    load: "mov rax, [rdi]" "syscall";
    /// Stores to rdi, then calls.
    store: "mov [rdi], rax" "syscall";
    /// Loads the stack segment from rdi, which holds up what that causes until the call has entered the kernel, and calls.
    hold_up: "mov ss, [rdi]" "syscall" "nop";
    /// Jumps to rdi.
    jump: "jmp rdi";
    /// Loads from the segment bases.
    segments: "mov rax, fs:[8]" "mov rdx, gs:[16]" "syscall";
    /// Sets a segment base itself.
    set_base: "wrfsbase rdi" "wrgsbase rsi" "syscall" "rdfsbase rax" "rdgsbase rdx" "syscall";
    /// Puts rbx into all vector registers, the x87 stack and MXCSR (from r12), and then calls in a loop, each time
    /// looking whether all is as it was: rdi counts rounds, and rsi is 1 as long as it is.
    vectors:
        "mov [rsp - 8], r12d"
        "ldmxcsr [rsp - 8]"
        "movq xmm0, rbx" "punpcklqdq xmm0, xmm0"
        "movdqa xmm1, xmm0" "movdqa xmm2, xmm0" "movdqa xmm3, xmm0" "movdqa xmm4, xmm0" "movdqa xmm5, xmm0"
        "movdqa xmm6, xmm0" "movdqa xmm7, xmm0" "movdqa xmm8, xmm0" "movdqa xmm9, xmm0" "movdqa xmm10, xmm0"
        "movdqa xmm11, xmm0" "movdqa xmm12, xmm0" "movdqa xmm13, xmm0" "movdqa xmm14, xmm0" "movdqa xmm15, xmm0"
        "mov [rsp - 16], rbx"
        "fild qword ptr [rsp - 16]"
        "test r13, r13" "jz 2f"
        // The upper halves, where the caller says that there are some.
        "vinsertf128 ymm3, ymm3, xmm0, 1"
        "vinsertf128 ymm15, ymm15, xmm0, 1"
        "2:"
        "mov esi, 1"
        "xor edi, edi"
        "3: syscall"
        "inc rdi"
        "movq rax, xmm0" "cmp rax, rbx" "jne 4f"
        "movhlps xmm0, xmm7" "movq rax, xmm0" "cmp rax, rbx" "jne 4f"
        "movq rax, xmm15" "cmp rax, rbx" "jne 4f"
        "movq rax, xmm9" "cmp rax, rbx" "jne 4f"
        "stmxcsr [rsp - 8]" "cmp [rsp - 8], r12d" "jne 4f"
        "fld st(0)" "fistp qword ptr [rsp - 16]" "cmp [rsp - 16], rbx" "jne 4f"
        "test r13, r13" "jz 3b"
        "vextractf128 xmm1, ymm15, 1" "movq rax, xmm1" "cmp rax, rbx" "jne 4f"
        "vextractf128 xmm1, ymm3, 1" "movq rax, xmm1" "cmp rax, rbx" "je 3b"
        "4: xor esi, esi"
        "syscall";
}
