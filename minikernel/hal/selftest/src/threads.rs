//! What a thread keeps while the kernel and other threads run.

use alloc::{format, vec::Vec};

use isopod_hal::{
    clock, cpu, log,
    user::{Fpu, Invalid, Trap},
};

use super::program::{self, DATA, Program};

pub fn registers_survive() {
    let avx = usize::from(cpu::features().xsave && Fpu::xsave_size() > 600);
    let mut threads: [Program; 3] = core::array::from_fn(|_| Program::load(program::vectors()));
    for (number, thread) in threads.iter_mut().enumerate() {
        thread.context.regs.rbx = 0x0101_0101_0101 * (number as u64 + 1);
        thread.context.regs.r12 = 0x1f80 | (number as u64) << 13;
        thread.context.regs.r13 = avx as u64;
    }
    for round in 0..300 {
        for thread in &mut threads {
            thread.space.activate();
            for _ in 0..=round % 3 {
                assert_eq!(thread.run(), Trap::Syscall);
                assert_eq!(thread.context.regs.rsi, 1, "a register has changed in round {round}");
                // The kernel's own use of vector registers.
                assert!(format!("{:.3}", f64::from(round) / 8.0 + 0.0625).len() > 4);
            }
        }
    }
    // The state can be taken out and put back, into another thread too.
    let frame = saved(&mut threads[0].context.fpu);
    let copy = threads[0].context.try_clone().unwrap();
    threads[1].space.activate();
    threads[1].context = copy;
    threads[1].space.activate();
    let copied = threads[1].context.fpu.restore(|at, bytes| {
        bytes.copy_from_slice(&frame[at..at + bytes.len()]);
        Ok::<_, Invalid>(())
    });
    assert_eq!(copied, Ok(()));
    threads[0].space.activate();
    assert_eq!(threads[0].run(), Trap::Syscall);
    assert_eq!(threads[0].context.regs.rsi, 1);
    // The stack of thread 1 holds other values, so only its registers are looked at.
    assert_eq!(saved(&mut threads[1].context.fpu), frame);
}

/// The state as a signal frame holds it.
fn saved(fpu: &mut Fpu) -> Vec<u8> {
    let mut frame = alloc::vec![0; Fpu::xsave_size()];
    let saved = fpu.save(|at, bytes| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        Ok::<_, Invalid>(())
    });
    assert_eq!(saved, Ok(()));
    frame
}

pub fn segment_bases() {
    let mut program = Program::load(program::segments());
    program.data.write(8, &11u64.to_le_bytes());
    program.data.write(116, &22u64.to_le_bytes());
    assert!(program.context.set_fs_base(DATA as u64) && program.context.set_gs_base(DATA as u64 + 100));
    let mut other = Program::load(program::call());
    assert_eq!(other.run(), Trap::Syscall);
    program.space.activate();
    assert_eq!(program.run(), Trap::Syscall);
    assert_eq!((program.context.regs.rax, program.context.regs.rdx), (11, 22));
    if !cpu::features().fsgsbase {
        return;
    }
    let mut program = Program::load(program::set_base());
    (program.context.regs.rdi, program.context.regs.rsi) = (0x1111, 0x2222);
    assert_eq!(program.run(), Trap::Syscall);
    assert_eq!((program.context.fs_base(), program.context.gs_base()), (0x1111, 0x2222));
    other.space.activate();
    assert_eq!(other.run(), Trap::Syscall);
    program.space.activate();
    assert_eq!(program.run(), Trap::Syscall);
    assert_eq!((program.context.regs.rax, program.context.regs.rdx), (0x1111, 0x2222));
}

/// Prints how many ticks a system call takes that does nothing, and a switch of threads.
pub fn measure_calls() {
    const ROUNDS: u64 = 1000;
    let mut program = Program::load(program::call());
    program.run();
    let start = clock::tsc();
    for _ in 0..ROUNDS {
        program.context.run();
    }
    log!("system call {} ticks", (clock::tsc() - start) / ROUNDS);
    let mut other = Program::load(program::call());
    let start = clock::tsc();
    for _ in 0..ROUNDS {
        program.space.activate();
        program.context.run();
        other.space.activate();
        other.context.run();
    }
    log!("switch {} ticks", (clock::tsc() - start) / ROUNDS / 2);
}
