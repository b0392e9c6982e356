//! Names and numbers of the processor.

use super::{cpuid, flags};

/// What CPUID tells of the processor's identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    vendor: [u8; 12],
    brand: [u8; 48],
    /// Family, extended part included.
    pub family: u32,
    /// Model, extended part included.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
}

impl Identity {
    pub(super) fn read() -> Self {
        let zero = cpuid(0);
        let mut vendor = [0; 12];
        for (bytes, word) in vendor.chunks_exact_mut(4).zip([zero.ebx, zero.edx, zero.ecx]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut brand = [0; 48];
        if cpuid(0x8000_0000).eax >= 0x8000_0004 {
            for (leaf, part) in (0x8000_0002..).zip(brand.chunks_exact_mut(16)) {
                let answer = cpuid(leaf);
                let words = [answer.eax, answer.ebx, answer.ecx, answer.edx];
                for (bytes, word) in part.chunks_exact_mut(4).zip(words) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
            }
        }
        let (family, model, stepping) = signature(cpuid(1).eax);
        Self { vendor, brand, family, model, stepping }
    }

    /// Who made it: `GenuineIntel`.
    pub fn vendor(&self) -> &str {
        text(&self.vendor)
    }

    /// What it calls itself; empty where it has no name.
    pub fn brand(&self) -> &str {
        text(&self.brand)
    }

    /// Calls `word` for each ability, by the names of `/proc/cpuinfo`.
    pub fn for_each_flag(&self, word: impl FnMut(&'static str)) {
        flags::for_each(word);
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} family {} model {} stepping {}", self.vendor(), self.family, self.model, self.stepping)
    }
}

/// Family, model and stepping in CPUID 1, EAX (SDM volume 2, CPUID, figure 3-6).
fn signature(eax: u32) -> (u32, u32, u32) {
    let (family, model) = (eax >> 8 & 0xf, eax >> 4 & 0xf);
    let full_family = if family == 0xf { family + (eax >> 20 & 0xff) } else { family };
    let full_model = if family == 6 || family == 0xf { model | (eax >> 16 & 0xf) << 4 } else { model };
    (full_family, full_model, eax & 0xf)
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..end]).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use std::{format, fs, string::String};

    use super::*;

    #[test]
    fn signatures_have_extended_parts() {
        // Skylake-SP, Zen 2, Pentium III.
        assert_eq!(signature(0x50654), (6, 85, 4));
        assert_eq!(signature(0x830f10), (0x17, 0x31, 0));
        assert_eq!(signature(0x68a), (6, 8, 10));
    }

    #[test]
    fn linux_says_the_same() {
        let identity = Identity::read();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
        let field = |name: &str| -> String {
            let line = cpuinfo.lines().find(|line| line.split(':').next().unwrap().trim() == name).unwrap();
            String::from(line.split_once(':').unwrap().1.trim())
        };
        assert_eq!(field("vendor_id"), identity.vendor());
        assert_eq!(field("model"), format!("{}", identity.model));
        let flags = format!(" {} ", field("flags"));
        for name in ["fpu", "sse2", "avx2", "smep", "umip", "rdrand", "nx", "lahf_lm"] {
            let mut found = false;
            identity.for_each_flag(|flag| found |= flag == name);
            // Linux hides what it was told to; what it shows we must show.
            assert!(found || !flags.contains(&format!(" {name} ")), "{name}");
        }
    }
}
