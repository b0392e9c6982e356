//! The processor's caches, as CPUID tells them (SDM volume 2, CPUID, leaf 4; AMD's APM volume 3, appendix E, `8000_001D`).

use super::{cpuid, cpuid_count};

/// One cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// How far from the core: 1 is the nearest.
    pub level: u32,
    /// What it holds: `Data`, `Instruction` or `Unified`.
    pub holds: &'static str,
    /// Bytes of a line.
    pub line: u32,
    /// Lines that share a tag.
    pub partitions: u32,
    /// Lines in which a byte can lie.
    pub ways: u32,
    /// How many such groups of lines there are.
    pub sets: u32,
}

impl Cache {
    /// The cache with this number; `None` behind the last, and where the processor does not tell.
    pub fn find(index: u32) -> Option<Self> {
        let leaf = [(0, 4), (0x8000_0000, 0x8000_001d)]
            .into_iter()
            .find(|&(first, leaf)| cpuid(first).eax >= leaf && cpuid_count(leaf, 0).eax & 0x1f != 0);
        let Some((_, leaf)) = leaf else { return Self::find_older(index) };
        let answer = cpuid_count(leaf, index);
        let holds = match answer.eax & 0x1f {
            1 => "Data",
            2 => "Instruction",
            3 => "Unified",
            _ => return None,
        };
        Some(Self {
            level: answer.eax >> 5 & 7,
            holds,
            line: (answer.ebx & 0xfff) + 1,
            partitions: (answer.ebx >> 12 & 0x3ff) + 1,
            ways: (answer.ebx >> 22) + 1,
            sets: answer.ecx.wrapping_add(1),
        })
    }

    /// As older processors of AMD tell (APM volume 3, appendix E, `8000_0005` and `8000_0006`).
    fn find_older(index: u32) -> Option<Self> {
        const SIZES: u32 = 0x8000_0006;
        if cpuid(0x8000_0000).eax < SIZES {
            return None;
        }
        let (first, outer) = (cpuid(SIZES - 1), cpuid(SIZES));
        // Ways of the outer caches by their number; 15 is any number.
        let ways =
            |word: u32| [0, 1, 2, 3, 4, 6, 8, 0, 16, 0, 32, 48, 64, 96, 128, 1][(word >> 12 & 15) as usize];
        let (level, holds, kilobytes, ways, line) = match index {
            0 => (1, "Data", first.ecx >> 24, first.ecx >> 16 & 0xff, first.ecx & 0xff),
            1 => (1, "Instruction", first.edx >> 24, first.edx >> 16 & 0xff, first.edx & 0xff),
            2 => (2, "Unified", outer.ecx >> 16, ways(outer.ecx), outer.ecx & 0xff),
            3 => (3, "Unified", (outer.edx >> 18) * 512, ways(outer.edx), outer.edx & 0xff),
            _ => return None,
        };
        let sets = (kilobytes << 10).checked_div(ways * line).filter(|sets| *sets > 0)?;
        Some(Self { level, holds, line, partitions: 1, ways, sets })
    }

    /// How many bytes it holds.
    pub fn size(&self) -> u64 {
        [self.partitions, self.ways, self.sets]
            .into_iter()
            .map(u64::from)
            .fold(self.line.into(), u64::wrapping_mul)
    }
}
