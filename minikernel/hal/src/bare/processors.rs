//! The processors beside the one that booted: how they start, and how they are reached.

use alloc::alloc::{Layout, alloc};
use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

use super::{
    apic, direct, enter, fpu,
    percpu::{BOOT_CPU, FAULT_STACK_SIZE, FAULT_STACKS, PerCpu, STACK_SIZE},
    registers::{cr4, set_cr3, set_cr4},
    shootdown, start, trampoline, vectors,
};
pub(super) use crate::cpu::MOST;
use crate::{irq::KICK_VECTOR, memory::OutOfMemory, sync::Once};

static CPUS: [AtomicPtr<PerCpu>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];
/// Where the stack of each begins; 0 for one that is not to start.
pub(super) static STACKS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
/// How many run.
static RUNNING: AtomicUsize = AtomicUsize::new(1);
/// What they run.
static MAIN: Once<fn() -> !> = Once::new();
/// The page at which they start.
static PAGE: Once<u8> = Once::new();

/// This CPU's number.
#[inline]
pub(crate) fn cpu_id() -> usize {
    PerCpu::get().index
}

/// How many run.
pub(crate) fn cpu_count() -> usize {
    RUNNING.load(Ordering::Acquire)
}

/// The data of a CPU.
pub(super) fn cpu(index: usize) -> Option<&'static PerCpu> {
    if index == 0 {
        return Some(&BOOT_CPU);
    }
    // SAFETY: what is stored there stays for good.
    unsafe { CPUS.get(index)?.load(Ordering::Acquire).as_ref() }
}

/// Interrupts a CPU, so that it looks at what there is to do.
pub(crate) fn interrupt_cpu(index: usize) {
    if let Some(cpu) = cpu(index) {
        apic::interrupt(cpu.shared.apic_id.load(Ordering::Relaxed), KICK_VECTOR);
    }
}

/// Makes ready for `count` CPUs in all, and starts them; they then run `main`. Where memory is short some do not start.
pub(crate) fn start_cpus(count: usize, main: fn() -> !) -> Result<(), OutOfMemory> {
    let _ = MAIN.set(main);
    for index in 1..count.min(MOST) {
        prepare(index)?;
    }
    let page = trampoline::install()?;
    let _ = PAGE.set(page);
    shootdown::several();
    apic::reset_others();
    apic::start_others(page);
    Ok(())
}

/// Calls those once more that have not started. Those that run do not heed it (SDM volume 3, section 9.4.4.1).
pub(crate) fn call_cpus() {
    if let Some(&page) = PAGE.get() {
        apic::start_others(page);
    }
}

/// Gives a CPU its data and its stacks.
fn prepare(index: usize) -> Result<(), OutOfMemory> {
    let base = direct::map_stack(STACK_SIZE + FAULT_STACKS * FAULT_STACK_SIZE)?;
    // SAFETY: the layout is not empty; what was allocated is written as a whole, and stays for good.
    let cpu = unsafe {
        let cpu = alloc(Layout::new::<PerCpu>()).cast::<PerCpu>();
        if cpu.is_null() {
            return Err(OutOfMemory);
        }
        cpu.write(PerCpu::new(cpu, index));
        *(*cpu).stack_range.get() = base..base + STACK_SIZE;
        cpu
    };
    CPUS[index].store(cpu, Ordering::Release);
    STACKS[index].store(base + STACK_SIZE, Ordering::Release);
    Ok(())
}

/// Called by the trampoline, on the CPU's own stack.
pub(super) extern "C" fn run(index: usize) -> ! {
    let (Some(cpu), Some(main)) = (cpu(index), MAIN.get()) else { super::power::triple_fault() };
    // SAFETY: once, first of all, on this CPU, in the order of the boot CPU's start.
    unsafe {
        let stack = (*cpu.stack_range.get()).clone();
        let faults = core::array::from_fn(|number| stack.end + (number + 1) * FAULT_STACK_SIZE);
        cpu.install(stack, faults);
        vectors::load();
        enter::install();
        set_cr4(cr4() | start::control_bits());
        set_cr3(direct::kernel_root().as_u64());
        cpu.root.set(direct::kernel_root());
        fpu::install();
        apic::install();
    }
    RUNNING.fetch_add(1, Ordering::AcqRel);
    main()
}
