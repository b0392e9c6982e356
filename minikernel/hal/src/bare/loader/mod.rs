//! What the loaders tell, each in its own structures.

pub(super) mod fw_cfg;
pub(super) mod linux;
pub(super) mod pvh;

use core::ptr;

use super::direct::{direct, map_direct};
use crate::{PhysAddr, PhysRange, boot::memory_map::MemoryMap};

/// Longest command line, without its zero.
pub(super) const COMMAND_LINE: usize = 4096;
/// Most modules that are noted.
pub(super) const MODULES: usize = 8;

/// What has been found out.
pub(super) struct Loaded {
    pub(super) memory: MemoryMap,
    pub(super) rsdp: Option<PhysAddr>,
    pub(super) modules: [PhysRange; MODULES],
    pub(super) module_count: usize,
    pub(super) seed: Option<[u8; 32]>,
    pub(super) command_line: [u8; COMMAND_LINE],
    pub(super) command_line_len: usize,
}

impl Loaded {
    pub(super) const fn new() -> Self {
        Self {
            memory: MemoryMap::new(),
            rsdp: None,
            modules: [PhysRange::new(PhysAddr::new(0), 0); MODULES],
            module_count: 0,
            seed: None,
            command_line: [0; COMMAND_LINE],
            command_line_len: 0,
        }
    }

    fn set_rsdp(&mut self, at: u64) {
        self.rsdp = (at != 0).then(|| PhysAddr::new(at));
    }

    fn add_module(&mut self, start: u64, len: u64) {
        if len > 0
            && let Some(slot) = self.modules.get_mut(self.module_count)
        {
            *slot = PhysRange::new(PhysAddr::new(start), len);
            self.module_count += 1;
        }
    }

    /// Copies a text that ends with a zero.
    fn copy_command_line(&mut self, at: u64) {
        if at == 0 {
            return;
        }
        // By words, since the line of a machine with many devices is long.
        for (index, slot) in self.command_line.chunks_exact_mut(8).enumerate() {
            let Some(word) = read::<[u8; 8]>(at + index as u64 * 8) else { return };
            slot.copy_from_slice(&word);
            if has_zero(u64::from_le_bytes(word)) {
                self.command_line_len += word.iter().position(|&byte| byte == 0).unwrap_or(0);
                return;
            }
            self.command_line_len += word.len();
        }
    }

    /// Takes over a memory map: first what is RAM, then, without it, what is not, since some maps overlap.
    fn take_map(&mut self, entries: impl Fn(usize) -> Option<MapEntry>) {
        for entry in (0..).map_while(&entries).filter(|entry| entry.kind == RAM) {
            self.memory.add(entry.range());
        }
        for entry in (0..).map_while(&entries).filter(|entry| entry.kind != RAM) {
            self.memory.remove(entry.range());
        }
    }
}

/// Whether a byte of a word is zero: only a zero borrows from a bit that it does not have.
const fn has_zero(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    word.wrapping_sub(ONES) & !word & ONES << 7 != 0
}

/// Kind of a map entry (ACPI 6.5, section 15).
const RAM: u32 = 1;

/// An entry of a memory map, as BIOS calls, `fw_cfg` and the zero page have it. PVH's is longer.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct MapEntry {
    start: u64,
    len: u64,
    kind: u32,
}

impl MapEntry {
    fn range(&self) -> PhysRange {
        PhysRange::new(PhysAddr::new(self.start), self.len)
    }
}

/// Types that are plain bytes: any value is valid.
///
/// # Safety
/// That is so.
unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: integers, without padding.
unsafe impl Plain for MapEntry {}
// SAFETY: bytes.
unsafe impl<const N: usize> Plain for [u8; N] {}

/// Reads one of the loader's structures. `None` where the direct map would need a table for it: beyond the first GiB.
fn read<T: Plain>(at: u64) -> Option<T> {
    let range = PhysRange::new(PhysAddr::new(at), size_of::<T>() as u64);
    map_direct(range, &mut || None).ok()?;
    // SAFETY: the bytes have just been mapped, and any value is valid.
    Some(unsafe { ptr::read_unaligned(direct(range.start).cast::<T>()) })
}
