//! The processor: what it is, and what it can do.

mod cache;
mod flags;
mod identity;

pub use cache::Cache;
pub use identity::Identity;

use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use crate::{machine, memory::OutOfMemory, sync::Once};

/// Abilities of the processor that the kernel uses or tells programs about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The kernel cannot execute user pages.
    pub smep: bool,
    /// The kernel reaches user pages only where it says so.
    pub smap: bool,
    /// Programs cannot read the descriptor tables' addresses.
    pub umip: bool,
    /// Pages can forbid execution.
    pub nx: bool,
    /// Programs may change their segment bases themselves (`HWCAP2` bit 1).
    pub fsgsbase: bool,
    /// State beyond SSE is saved with XSAVE.
    pub xsave: bool,
    /// Pages of 1 GiB.
    pub huge_pages: bool,
    /// The local APIC is reached through model-specific registers.
    pub x2apic: bool,
    /// The local APIC's timer compares with the time-stamp counter.
    pub tsc_deadline: bool,
    /// RDRAND.
    pub rdrand: bool,
    /// RDSEED.
    pub rdseed: bool,
    /// The machine is virtual.
    pub hypervisor: bool,
    /// CPUID 1, EDX: what programs find in `AT_HWCAP`.
    pub hwcap: u32,
}

/// The abilities of this processor; all processors of a machine have the same.
#[inline]
pub fn features() -> &'static Features {
    match FEATURES.get() {
        Some(features) => features,
        None => first_features(),
    }
}

static FEATURES: Once<Features> = Once::new();

/// Kept out of [`features`], which is called in many places.
#[cold]
#[inline(never)]
fn first_features() -> &'static Features {
    FEATURES.get_or_init(Features::detect)
}

impl Features {
    /// Asks the processor (SDM volume 2, CPUID). Each question leaves a virtual machine, so there are few.
    fn detect() -> Self {
        let basic = cpuid(1);
        let max = cpuid(0).eax;
        let structured = if max >= 7 { cpuid(7) } else { CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } };
        let extended = cpuid(0x8000_0001);
        let bit = |register: u32, index: u32| register >> index & 1 == 1;
        Self {
            smep: bit(structured.ebx, 7),
            smap: bit(structured.ebx, 20),
            umip: bit(structured.ecx, 2),
            nx: bit(extended.edx, 20),
            fsgsbase: bit(structured.ebx, 0),
            xsave: bit(basic.ecx, 26),
            huge_pages: bit(extended.edx, 26),
            x2apic: bit(basic.ecx, 21),
            tsc_deadline: bit(basic.ecx, 24),
            rdrand: bit(basic.ecx, 30),
            rdseed: bit(structured.ebx, 18),
            hypervisor: bit(basic.ecx, 31),
            hwcap: basic.edx,
        }
    }
}

/// The most CPUs that run.
pub const MOST: usize = 64;

/// Number of this CPU, from 0 on and less than [`MOST`].
#[inline]
pub fn id() -> usize {
    // The compiler need not take our word for it: a power of two costs one instruction.
    machine::cpu_id() % MOST
}

/// Has the thread of a model that calls it be the CPU of this number.
#[cfg(loom)]
pub fn pretend(id: usize) {
    machine::become_cpu(id);
}

/// CPUs that run.
pub fn count() -> usize {
    machine::cpu_count()
}

/// How many CPUs the machine has, where firmware tells it without ACPI's tables.
pub fn told_by_firmware() -> Option<usize> {
    machine::firmware_cpus()
}

/// Starts as many CPUs as make `count` in all, at most [`MOST`]; each then runs `main`, on a stack of its own. Returns at once: [`count`]
/// tells when they run. To be called once, on the boot CPU.
pub fn start_others(count: usize, main: fn() -> !) -> Result<(), OutOfMemory> {
    machine::start_cpus(count, main)
}

/// Calls the CPUs once more that [`start_others`] has called in vain: the first call may get lost on its way to a real one.
pub fn call_others() {
    machine::call_cpus();
}

/// Interrupts another CPU: user code is left there with [`crate::user::Trap::Interrupt`], and sleep ends.
pub fn interrupt(id: usize) {
    machine::interrupt_cpu(id);
}

/// Returns when every other CPU has passed a full memory barrier since the call, and runs no user code that it fetched before.
pub fn synchronize() {
    machine::synchronize_cpus();
}

/// Who made the processor and what programs may know of it; for `/proc/cpuinfo`.
pub fn identity() -> Identity {
    Identity::read()
}

/// The first address that the processor cannot put on its bus.
pub(crate) fn physical_limit() -> u64 {
    // Processors without the leaf have 36 bits (SDM volume 2, CPUID).
    let bits = if cpuid(0x8000_0000).eax >= 0x8000_0008 { cpuid(0x8000_0008).eax & 0xff } else { 36 };
    1 << bits.clamp(36, 52)
}

pub(crate) fn cpuid(leaf: u32) -> CpuidResult {
    __cpuid(leaf)
}

pub(crate) fn cpuid_count(leaf: u32, index: u32) -> CpuidResult {
    __cpuid_count(leaf, index)
}
