//! PVH's start info (Xen, `public/arch-x86/hvm/start_info.h`).

use super::{Loaded, MapEntry, Plain, fw_cfg, read};

const MAGIC: u32 = 0x336e_c578;

/// `struct hvm_start_info`. From `memmap_paddr` on since version 1.
#[derive(Clone, Copy)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    nr_modules: u32,
    modlist_paddr: u64,
    cmdline_paddr: u64,
    rsdp_paddr: u64,
    memmap_paddr: u64,
    memmap_entries: u32,
    reserved: u32,
}

// SAFETY: integers, without padding.
unsafe impl Plain for StartInfo {}

/// `struct hvm_modlist_entry`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Module {
    paddr: u64,
    size: u64,
    cmdline_paddr: u64,
    reserved: u64,
}

// SAFETY: integers, without padding.
unsafe impl Plain for Module {}

/// Length of `struct hvm_memmap_table_entry`, which begins like other maps' entries.
const MAP_ENTRY_LEN: u64 = 24;

pub(in super::super) fn take(loaded: &mut Loaded, at: u64) {
    let Some(info) = read::<StartInfo>(at).filter(|info| info.magic == MAGIC) else { return };
    loaded.set_rsdp(info.rsdp_paddr);
    loaded.copy_command_line(info.cmdline_paddr);
    for index in 0..u64::from(info.nr_modules) {
        let Some(module) = read::<Module>(info.modlist_paddr + index * size_of::<Module>() as u64) else {
            break;
        };
        loaded.add_module(module.paddr, module.size);
    }
    if info.version >= 1 && info.memmap_entries > 0 {
        let count = info.memmap_entries as usize;
        loaded.take_map(|index| {
            (index < count)
                .then(|| read::<MapEntry>(info.memmap_paddr + index as u64 * MAP_ENTRY_LEN))
                .flatten()
        });
    } else {
        fw_cfg::take_memory_map(loaded);
    }
}
