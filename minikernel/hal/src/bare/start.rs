//! From the first instruction in the high half to the kernel's main function.

use core::cell::UnsafeCell;

use super::{
    apic, direct, enter, entry, fault, fpu, layout, loader, packed,
    percpu::{BOOT_CPU, PerCpu, STACK_SIZE},
    registers, serial, vectors,
};
use crate::{
    PhysAddr, PhysRange,
    boot::{BootInfo, LinkDirectory, link},
    cpu::features,
    memory::spans::Spans,
    power,
    sync::Once,
};

const MACHINE_CHECKS: u64 = 1 << 6;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
const UMIP: u64 = 1 << 11;
const GLOBAL_PAGES: u64 = 1 << 7;
const FSGSBASE: u64 = 1 << 16;

/// Regions of less than this come last: the allocator shall begin with a large one.
const SMALL_REGION: u64 = 2 << 20;

/// The directory of linked parts. The builder writes it into the image; so it is read as the loader left it.
#[used]
#[unsafe(link_section = ".isopod.link")]
static LINK: [u8; link::LEN] = link::EMPTY;

unsafe extern "C" {
    safe static boot_stack: u8;
}

unsafe extern "Rust" {
    /// Made by [`crate::entry!`].
    safe fn isopod_main(boot: &'static BootInfo) -> !;
}

struct Storage(UnsafeCell<loader::Loaded>);

// SAFETY: written once, by the boot CPU, before anything else looks at it.
unsafe impl Sync for Storage {}

static LOADED: Storage = Storage(UnsafeCell::new(loader::Loaded::new()));
static BOOT: Once<BootInfo> = Once::new();

/// Called by the entry, with early tables and the boot stack, in the way that `kind` tells.
pub(super) extern "C" fn start(info: u64, kind: u64) -> ! {
    let link = link_directory();
    // SAFETY: first of all, once, on the boot CPU. Traps come after segments, whose stacks they use.
    unsafe {
        let stack = &raw const boot_stack as usize;
        BOOT_CPU.install(stack..stack + STACK_SIZE, PerCpu::boot_fault_stacks());
        vectors::load();
        enter::install();
        registers::set_cr4(registers::cr4() | control_bits());
        direct::protect_image(link.packed.is_some());
        fpu::install();
    }
    // SAFETY: nobody else has a reference, and from here on there are shared ones only.
    let loaded: &'static loader::Loaded = unsafe {
        let loaded = &mut *LOADED.0.get();
        gather(loaded, &link, info, kind);
        loaded.memory.sort();
        loaded
    };
    if loaded.memory.regions().is_empty() {
        serial::write(b"isopod: the boot loader tells of no memory\n");
        power::off(fault::STATUS);
    }
    let boot = BootInfo {
        command_line: &loaded.command_line[..loaded.command_line_len],
        memory: loaded.memory.regions(),
        rsdp: loaded.rsdp,
        modules: &loaded.modules[..loaded.module_count],
        link,
        seed: loaded.seed,
    };
    let _ = BOOT.set(boot);
    direct::set_ram(loaded.memory.regions());
    if let Some(blocks) = link.packed {
        packed::install(blocks);
    }
    // SAFETY: once, and frames can be had from now on.
    unsafe { apic::install() };
    match boot_info() {
        Some(boot) => isopod_main(boot),
        None => super::power::triple_fault(),
    }
}

/// Bits of CR4 beyond those that the entry has set: protections, and segment bases in user code's own hands.
pub(super) fn control_bits() -> u64 {
    let features = features();
    let bits = [
        (true, GLOBAL_PAGES),
        (true, MACHINE_CHECKS),
        (features.smep, SMEP),
        (features.smap, SMAP),
        (features.umip, UMIP),
        (features.fsgsbase, FSGSBASE),
    ];
    bits.iter().filter(|(present, _)| *present).map(|(_, bit)| bit).sum()
}

/// Reads what the loader tells, and takes from its map what is in use already.
fn gather(loaded: &mut loader::Loaded, link: &LinkDirectory, info: u64, kind: u64) {
    match kind {
        entry::PVH => loader::pvh::take(loaded, info),
        _ => loader::linux::take(loaded, info),
    }
    let image = layout::image_phys(layout::image_end()).as_u64() - layout::image_start() as u64;
    loaded.memory.remove(PhysRange::new(PhysAddr::new(layout::image_start() as u64), image));
    for part in link.parts().into_iter().flatten() {
        loaded.memory.remove(part);
    }
    for module in &loaded.modules[..loaded.module_count] {
        loaded.memory.remove(*module);
    }
}

fn link_directory() -> LinkDirectory {
    // Read as the loader left it, not as it was compiled.
    LinkDirectory::parse(core::hint::black_box(&LINK))
}

/// What the loader told, once that is known.
pub(super) fn boot_info() -> Option<&'static BootInfo> {
    BOOT.get()
}

/// RAM for the allocator. The first span lies in the first GiB, which is mapped without further tables.
pub(crate) fn memory_spans() -> Spans {
    let mut spans = Spans::new();
    let regions = boot_info().map_or(&[][..], |boot| boot.memory);
    let (large, small) = (
        regions.iter().filter(|region| region.range.len >= SMALL_REGION),
        regions.iter().filter(|region| region.range.len < SMALL_REGION),
    );
    for region in large.chain(small) {
        spans.add(region.range);
    }
    spans
}

/// What may be claimed as boot memory.
pub(crate) fn loaded() -> (LinkDirectory, &'static [PhysRange]) {
    boot_info().map_or((LinkDirectory::default(), &[]), |boot| (boot.link, boot.modules))
}
