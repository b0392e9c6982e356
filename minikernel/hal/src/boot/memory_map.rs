//! From the loader's memory map to the RAM that the kernel may use.

use super::MemoryRegion;
use crate::{PAGE_SIZE, PhysAddr, PhysRange};

/// Most regions of usable RAM that are kept.
pub(crate) const MAX_REGIONS: usize = 64;

/// Everything below stays unused: real-mode vectors, the loader's structures, the BIOS, and a place for the
/// application processors' start-up code.
const LOW_MEMORY: u64 = 1 << 20;

/// What lies beyond is not RAM: the processor has at most 52 bits of physical address.
const ADDRESS_LIMIT: u64 = 1 << 52;

/// Usable RAM as disjoint regions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryMap {
    regions: [MemoryRegion; MAX_REGIONS],
    count: usize,
}

impl MemoryMap {
    pub(crate) const fn new() -> Self {
        let empty = MemoryRegion { range: PhysRange::new(PhysAddr::new(0), 0) };
        Self { regions: [empty; MAX_REGIONS], count: 0 }
    }

    /// Adds RAM, as whole pages above the lowest MiB. Entries that the loader lists twice count once. Where the table
    /// is full, the entry is lost.
    pub(crate) fn add(&mut self, range: PhysRange) {
        let page = PAGE_SIZE as u64;
        let start = range.start.as_u64().clamp(LOW_MEMORY, ADDRESS_LIMIT).next_multiple_of(page);
        let end = range.end().as_u64().min(ADDRESS_LIMIT) & !(page - 1);
        if start >= end {
            return;
        }
        let range = PhysRange::new(PhysAddr::new(start), end - start);
        self.remove(range);
        self.push(range);
    }

    /// Removes every page that shares a byte with `range`.
    pub(crate) fn remove(&mut self, range: PhysRange) {
        if range.len == 0 {
            return;
        }
        let page = PAGE_SIZE as u64;
        let start = range.start.as_u64() & !(page - 1);
        let end = range.end().as_u64().div_ceil(page).saturating_mul(page);
        let mut index = 0;
        while index < self.count {
            let (old_start, old_end) =
                (self.regions[index].range.start.as_u64(), self.regions[index].range.end().as_u64());
            if end <= old_start || old_end <= start {
                index += 1;
                continue;
            }
            self.count -= 1;
            self.regions[index] = self.regions[self.count];
            // What is left before and behind goes to the end of the table, where it is looked at once more.
            if old_start < start {
                self.push(PhysRange::new(PhysAddr::new(old_start), start - old_start));
            }
            if end < old_end {
                self.push(PhysRange::new(PhysAddr::new(end), old_end - end));
            }
        }
    }

    fn push(&mut self, range: PhysRange) {
        if let Some(slot) = self.regions.get_mut(self.count) {
            *slot = MemoryRegion { range };
            self.count += 1;
        }
    }

    /// The regions.
    pub(crate) fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.count]
    }

    /// Sorts the regions by address.
    pub(crate) fn sort(&mut self) {
        // Insertion sort: a handful of entries, mostly in order.
        for at in 1..self.count {
            let mut index = at;
            while index > 0 && self.regions[index - 1].range.start > self.regions[index].range.start {
                self.regions.swap(index - 1, index);
                index -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr::new(start), end - start)
    }

    fn regions(map: &mut MemoryMap) -> Vec<(u64, u64)> {
        map.sort();
        map.regions()
            .iter()
            .map(|region| (region.range.start.as_u64(), region.range.end().as_u64()))
            .collect()
    }

    #[test]
    fn holes_are_cut_out() {
        let mut map = MemoryMap::new();
        map.add(range(0x1_0000_0000, 0x1_4000_0000));
        map.add(range(0, 0x9fc00));
        map.add(range(0x10_0000, 0x7ffd_f000));
        map.remove(range(0x20_0000, 0x34_5678));
        map.remove(range(0x7ffd_e001, 0x7ffd_e002));
        assert_eq!(
            regions(&mut map),
            [(0x10_0000, 0x20_0000), (0x34_6000, 0x7ffd_e000), (0x1_0000_0000, 0x1_4000_0000)]
        );
    }

    #[test]
    fn a_map_of_lies_is_survived() {
        let mut map = MemoryMap::new();
        map.add(PhysRange::new(PhysAddr::new(u64::MAX - 10), u64::MAX));
        map.add(PhysRange::new(PhysAddr::new(0x100_0000), 0));
        map.add(range(0x100_0000, 0x110_0000));
        map.add(range(0x108_0000, 0x120_0000));
        assert_eq!(regions(&mut map).iter().map(|(start, end)| end - start).sum::<u64>(), 0x20_0000);
        map.remove(PhysRange::new(PhysAddr::new(0), u64::MAX));
        assert!(regions(&mut map).is_empty());
        for index in 0..1000 {
            map.add(range((index + 1) << 21, ((index + 1) << 21) + 4096));
        }
        assert_eq!(regions(&mut map).len(), MAX_REGIONS);
    }

    proptest! {
        #[test]
        fn carving_is_set_subtraction(
            ram in prop::collection::vec((0u64..200, 0u64..100), 1..6),
            holes in prop::collection::vec((0u64..250, 0u64..40), 0..8),
        ) {
            let page = PAGE_SIZE as u64;
            let place = |number: u64| LOW_MEMORY + number * page;
            let mut map = MemoryMap::new();
            for &(start, len) in &ram {
                map.add(range(place(start), place(start + len)));
            }
            for &(start, len) in &holes {
                map.remove(range(place(start), place(start + len)));
            }
            let found = regions(&mut map);
            for number in 0..300 {
                let within = |list: &[(u64, u64)]| list.iter().any(|&(start, len)| (start..start + len).contains(&number));
                let expected = within(&ram) && !within(&holes);
                let times = found.iter().filter(|&&(start, end)| (start..end).contains(&place(number))).count();
                prop_assert_eq!(times, usize::from(expected));
            }
        }
    }
}
