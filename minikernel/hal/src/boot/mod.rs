//! What the boot loader says, in one form whichever way it came.

pub(crate) mod link;
pub(crate) mod memory_map;

use core::fmt;

use crate::{PhysAddr, PhysRange, machine};

/// A range of RAM that the kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// Where it lies.
    pub range: PhysRange,
}

/// What was joined with the kernel at build time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkDirectory {
    /// The manifest.
    pub manifest: Option<PhysRange>,
    /// The root, an EROFS image.
    pub root: Option<PhysRange>,
    /// The kernel's symbol table.
    pub symbols: Option<PhysRange>,
    /// The part of the kernel's code that is kept compressed, if it is.
    pub packed: Option<PhysRange>,
}

/// The machine as the kernel finds it.
#[derive(Clone, Copy)]
pub struct BootInfo {
    /// The command line, without its terminating zero.
    pub command_line: &'static [u8],
    /// RAM for the kernel's use: without its own image, the modules, the linked parts, what firmware keeps, and the
    /// lowest MiB.
    pub memory: &'static [MemoryRegion],
    /// Where ACPI begins, if the loader knows.
    pub rsdp: Option<PhysAddr>,
    /// Modules that the loader put into memory.
    pub modules: &'static [PhysRange],
    /// Parts that are linked to the kernel.
    pub link: LinkDirectory,
    /// Random bytes from the loader.
    pub seed: Option<[u8; 32]>,
}

impl fmt::Debug for BootInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the seed, which nobody may read in a log.
        f.debug_struct("BootInfo")
            .field("command_line", &alloc::string::String::from_utf8_lossy(self.command_line))
            .field("memory", &self.memory)
            .field("rsdp", &self.rsdp)
            .field("modules", &self.modules)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// The ranges that [`crate::boot_memory::BootMemory::claim`] gives out.
pub(crate) fn claimable() -> impl Iterator<Item = PhysRange> {
    let (link, modules) = machine::loaded();
    link.parts().into_iter().flatten().chain(modules.iter().copied())
}

/// Names the kernel's main function: `fn kmain(boot: &'static BootInfo) -> !`.
///
/// It is called once, on a good stack, with paging, traps, frames, heap and per-CPU data in place and interrupts off.
#[macro_export]
macro_rules! entry {
    ($kmain:path) => {
        /// What the machine calls.
        #[unsafe(no_mangle)]
        fn isopod_main(boot: &'static $crate::boot::BootInfo) -> ! {
            let kmain: fn(&'static $crate::boot::BootInfo) -> ! = $kmain;
            kmain(boot)
        }
    };
}
