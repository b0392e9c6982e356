//! From the firmware's memory map to what a kernel wants to know: which stretches are RAM.

/// `struct hvm_memmap_table_entry` (Xen, `public/arch-x86/hvm/start_info.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Stretch {
    pub start: u64,
    pub len: u64,
    kind: u32,
    reserved: u32,
}

const RAM: u32 = 1;

impl Stretch {
    pub const EMPTY: Self = Self { start: 0, len: 0, kind: RAM, reserved: 0 };

    fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// Whether memory of a type is the kernel's once the firmware's boot services have ended: that of loaders (1 and 2), that of boot services
/// (3 and 4), and what is free (UEFI specification 2.10, section 7.2).
pub fn is_ram(kind: u32) -> bool {
    matches!(kind, 1..=4 | 7)
}

/// Stretches of RAM that do not touch, by address. Where there is no room for more, the rest is not used.
pub struct Ram<'a> {
    stretches: &'a mut [Stretch],
    count: usize,
}

impl<'a> Ram<'a> {
    pub fn new(stretches: &'a mut [Stretch]) -> Self {
        Self { stretches, count: 0 }
    }

    /// Adds memory that is not known yet.
    pub fn add(&mut self, start: u64, len: u64) {
        let Some(end) = start.checked_add(len).filter(|&end| end > start) else { return };
        // What it touches becomes a part of it.
        let (mut start, mut end, mut kept) = (start, end, 0);
        for index in 0..self.count {
            let old = self.stretches[index];
            if old.end() == start || old.start == end {
                (start, end) = (start.min(old.start), end.max(old.end()));
            } else {
                self.stretches[kept] = old;
                kept += 1;
            }
        }
        self.count = kept;
        if kept == self.stretches.len() {
            return;
        }
        let mut at = kept;
        while at > 0 && self.stretches[at - 1].start > start {
            self.stretches[at] = self.stretches[at - 1];
            at -= 1;
        }
        self.stretches[at] = Stretch { start, len: end - start, ..Stretch::EMPTY };
        self.count += 1;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether one of them has all from `start` to `end`.
    pub fn holds(&self, start: u64, end: u64) -> bool {
        self.stretches[..self.count].iter().any(|one| one.start <= start && end <= one.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[(u64, u64)], room: usize) -> Vec<(u64, u64)> {
        let mut stretches = vec![Stretch::EMPTY; room];
        let mut ram = Ram::new(&mut stretches);
        for &(start, end) in parts {
            ram.add(start, end - start);
        }
        let count = ram.count();
        stretches[..count].iter().map(|one| (one.start, one.end())).collect()
    }

    #[test]
    fn neighbours_are_joined_in_any_order() {
        let parts =
            [(0x1000, 0x2000), (0x5000, 0x6000), (0x3000, 0x4000), (0x2000, 0x3000), (0x9000, 0xa000)];
        let expected = [(0x1000, 0x4000), (0x5000, 0x6000), (0x9000, 0xa000)];
        assert_eq!(joined(&parts, 8), expected);
        let backwards: Vec<_> = parts.into_iter().rev().collect();
        assert_eq!(joined(&backwards, 8), expected);
        assert_eq!(joined(&[(0, 1), (2, 3), (1, 2)], 2), [(0, 3)]);
    }

    #[test]
    fn a_map_that_is_too_long_or_wrong_is_survived() {
        assert_eq!(joined(&[(0, 1), (2, 3), (4, 5), (3, 4)], 2), [(0, 1), (2, 4)]);
        let mut stretches = [Stretch::EMPTY; 2];
        let mut ram = Ram::new(&mut stretches);
        ram.add(0x1000, 0);
        ram.add(u64::MAX, 2);
        ram.add(0x1000, 0x2000);
        assert_eq!(ram.count(), 1);
        assert!(ram.holds(0x1000, 0x3000) && ram.holds(0x1800, 0x2000));
        assert!(!ram.holds(0x1000, 0x3001) && !ram.holds(0xfff, 0x2000));
    }

    #[test]
    fn firmware_keeps_what_it_needs_later() {
        let ram: Vec<u32> = (0..16).filter(|&kind| is_ram(kind)).collect();
        assert_eq!(ram, [1, 2, 3, 4, 7]);
    }
}
