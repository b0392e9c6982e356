//! Traps of user code.

use isopod_hal::{PAGE_SIZE, cpu, paging::USER_END, uaccess, user::Trap};

use super::program::{self, CODE, DATA, Program, STACK};

pub fn system_call() {
    let mut program = Program::load(program::count());
    let regs = &mut program.context.regs;
    (regs.rax, regs.rbx, regs.rdi, regs.r8, regs.r15, regs.rbp) = (39, 1, 2, 3, 4, 5);
    for number in 39..1000 {
        assert_eq!(program.run(), Trap::Syscall);
        let regs = &program.context.regs;
        assert_eq!(regs.rax, number);
        assert_eq!((regs.rbx, regs.rdi, regs.r8, regs.r15, regs.rbp), (1, 2, 3, 4, 5));
        assert_eq!((regs.rip, regs.rsp), (CODE as u64 + 2, STACK as u64));
        assert_eq!((regs.rcx, regs.r11), (regs.rip, regs.rflags));
        assert_eq!(regs.rflags & 0x200, 0x200);
    }
    // Changed registers come back as they were set, those that `sysret` cannot restore too.
    let mut program = Program::load(program::call());
    assert_eq!(program.run(), Trap::Syscall);
    let regs = &mut program.context.regs;
    (regs.rcx, regs.r11, regs.rip, regs.rax) = (7, 8, CODE as u64, 9);
    regs.rflags |= 0x400;
    assert_eq!(program.run(), Trap::Syscall);
    let regs = &program.context.regs;
    assert_eq!((regs.rax, regs.rflags & 0x400), (9, 0x400));
}

pub fn exceptions() {
    let cases = [(program::divide(), 0, 0), (program::breakpoint(), 3, 0), (program::invalid(), 6, 0)];
    for (code, vector, error) in cases {
        let mut program = Program::load(code);
        program.context.regs.r9 = 77;
        assert_eq!(program.run(), Trap::Exception { vector, error });
        assert_eq!(program.context.regs.r9, 77);
    }
    // The trap flag stops after one instruction, and a system call does not take it into the kernel.
    let mut program = Program::load(program::count());
    program.context.regs.rflags |= 0x100;
    let first = program.run();
    assert!(matches!(first, Trap::Exception { vector: 1, .. } | Trap::Syscall), "{first:?}");
}

pub fn breakpoints() {
    // The first breakpoint, for eight bytes that are written; the second, for an instruction.
    const WRITTEN: u64 = 0x9_0002;
    const EXECUTED: u64 = 0x8;
    let met = |error| Trap::Exception { vector: 1, error };
    let addresses = [DATA as u64, CODE as u64, 0, 0];
    let mut program = Program::load(program::store());
    program.context.regs.rdi = DATA as u64 + 4;
    program.context.set_breakpoints(WRITTEN, addresses).unwrap();
    assert_eq!(program.run(), met(1));
    assert_eq!(program.context.regs.rip, CODE as u64 + 3, "behind the store");
    assert_eq!(program.run(), Trap::Syscall);
    // The kernel's copies meet them, too, and go on.
    let word = [7; 8];
    uaccess::copy_to_user(DATA, &word).unwrap();
    assert_eq!(program.data.read_array::<8>(0), word);
    // A single step over one of them is told with it.
    program.context.regs.rip = CODE as u64;
    program.context.regs.rflags |= 0x100;
    assert_eq!(program.run(), met(0x4001));
    program.context.regs.rflags &= !0x100;
    // Before an instruction, until the resume flag takes it past that.
    program.context.set_breakpoints(EXECUTED, addresses).unwrap();
    program.context.regs.rip = CODE as u64;
    assert_eq!((program.run(), program.context.regs.rip), (met(2), CODE as u64));
    program.context.regs.rflags |= 1 << 16;
    assert_eq!(program.run(), Trap::Syscall);
    // They change hands with the thread: neither another's code nor what the kernel copies for it meets them.
    program.context.set_breakpoints(WRITTEN, addresses).unwrap();
    program.context.regs.rip = CODE as u64;
    assert_eq!(program.run(), met(1));
    isopod_hal::user::release();
    uaccess::copy_to_user(DATA, &word).unwrap();
    let mut other = Program::load(program::store());
    other.context.regs.rdi = DATA as u64;
    assert_eq!(other.run(), Trap::Syscall);
    uaccess::copy_to_user(DATA, &word).unwrap();
    program.space.activate();
    assert_eq!(program.run(), Trap::Syscall);
    // One that is held up comes at the kernel's first instruction. Emulators do not hold it up.
    let mut program = Program::load(program::hold_up());
    program.context.regs.rdi = DATA as u64;
    program.data.write(0, &0x23u16.to_le_bytes());
    program.context.set_breakpoints(0xf_0002, addresses).unwrap();
    let trap = program.run();
    if trap != Trap::Syscall {
        assert_eq!((trap, program.run()), (met(1), Trap::Syscall));
    }
    assert_eq!(program.context.regs.rip, program.context.regs.rcx);
    // A step is told from them.
    let mut program = Program::load(program::store());
    program.context.regs.rdi = DATA as u64;
    program.context.regs.rflags |= 0x100;
    assert_eq!(program.run(), met(0x4000));
    // Nothing of the kernel's can be met.
    program.context.set_breakpoints(WRITTEN, [USER_END as u64; 4]).unwrap();
}

pub fn page_faults() {
    let fault = |address, write, exec, present| Trap::PageFault { address, write, exec, present };
    let run = |code: &[u8], address: usize| {
        let mut program = Program::load(code);
        program.context.regs.rdi = address as u64;
        program.run()
    };
    assert_eq!(run(program::load(), DATA), Trap::Syscall);
    assert_eq!(run(program::load(), 0), fault(0, false, false, false));
    assert_eq!(run(program::store(), DATA + PAGE_SIZE), fault(DATA + PAGE_SIZE, true, false, true));
    assert_eq!(run(program::store(), CODE), fault(CODE, true, false, true));
    assert_eq!(run(program::load(), DATA + 2 * PAGE_SIZE), fault(DATA + 2 * PAGE_SIZE, false, false, false));
    // The kernel's half looks as if nothing were there, or forbidden.
    for address in [0xffff_8000_0020_0000, 0xffff_ffff_8020_1000] {
        let trap = run(program::load(), address);
        assert!(matches!(trap, Trap::PageFault { write: false, exec: false, .. }), "{trap:?}");
    }
    if cpu::features().nx {
        assert_eq!(run(program::jump(), DATA), fault(DATA, false, true, true));
    }
    // A non-canonical address is a general protection fault.
    assert_eq!(run(program::load(), 0x8000_0000_0000), Trap::Exception { vector: 13, error: 0 });
    assert_eq!(run(program::jump(), 0x8000_0000_0000), Trap::Exception { vector: 13, error: 0 });
    // A fault is not the end: with the page in place the instruction goes on.
    let mut program = Program::load(program::store());
    program.context.regs.rdi = (DATA + 2 * PAGE_SIZE) as u64;
    program.context.regs.rax = 0x1234;
    assert!(matches!(program.run(), Trap::PageFault { write: true, .. }));
    let frame = isopod_hal::frame::Frame::zeroed().unwrap();
    program.space.map(DATA + 2 * PAGE_SIZE, frame.clone(), program::RW).unwrap();
    assert_eq!(program.run(), Trap::Syscall);
    assert_eq!(frame.read_array(0), 0x1234u64.to_le_bytes());
    let mapped = program.space.get(DATA + 2 * PAGE_SIZE).unwrap();
    assert!(mapped.dirty && mapped.accessed);
    // Rights that are taken away are gone at once.
    program.space.protect_range(DATA..DATA + PAGE_SIZE, isopod_hal::paging::Access::READ);
    program.context.regs.rip = CODE as u64;
    program.context.regs.rdi = DATA as u64;
    assert_eq!(program.run(), fault(DATA, true, false, true));
}

pub fn privileges() {
    for code in [program::halt(), program::disable(), program::port()] {
        assert_eq!(Program::load(code).run(), Trap::Exception { vector: 13, error: 0 });
    }
    // The error code names the gate, in a way in which emulators differ.
    let gate = Program::load(program::gate()).run();
    assert!(matches!(gate, Trap::Exception { vector: 13, error } if error != 0), "{gate:?}");
    let umip = Program::load(program::table()).run();
    assert_eq!(matches!(umip, Trap::Exception { vector: 13, .. }), cpu::features().umip);
    // Addresses that the processor must not be given.
    let mut program = Program::load(program::call());
    program.context.regs.rip = USER_END as u64;
    assert_eq!(
        program.run(),
        Trap::PageFault { address: USER_END, write: false, exec: true, present: false }
    );
    program.context.regs.rip = 1 << 47;
    assert_eq!(program.run(), Trap::Exception { vector: 13, error: 0 });
    // A stack pointer can be anything.
    program.context.regs.rip = CODE as u64;
    program.context.regs.rsp = 0xdead_0000_0000_0000;
    assert_eq!(program.run(), Trap::Syscall);
    assert_eq!(program.context.regs.rsp, 0xdead_0000_0000_0000);
}
