//! The directory that the builder's link room fills in when it joins kernel, manifest, root, symbols and packed code to one file.

use super::LinkDirectory;
use crate::{PhysAddr, PhysRange};

/// Length of section `.isopod.link` in bytes.
pub(crate) const LEN: usize = 80;
const MAGIC: &[u8; 8] = b"ISOPODLK";
const VERSION: u32 = 1;

/// An empty directory, as the kernel is built.
#[cfg(isopod_bare)]
pub(crate) const EMPTY: [u8; LEN] = {
    let mut bytes = [0; LEN];
    let mut index = 0;
    while index < MAGIC.len() {
        bytes[index] = MAGIC[index];
        index += 1;
    }
    bytes[8] = VERSION as u8;
    bytes
};

impl LinkDirectory {
    /// Reads the section. Another magic number or version means that nothing is linked.
    pub(crate) fn parse(section: &[u8; LEN]) -> Self {
        let word = |at: usize| u64::from_le_bytes(section[at..at + 8].try_into().expect("eight bytes"));
        if &section[..8] != MAGIC || word(8) != u64::from(VERSION) {
            return Self::default();
        }
        let part = |at: usize| {
            let (start, len) = (word(at), word(at + 8));
            (len > 0 && start.checked_add(len).is_some()).then(|| PhysRange::new(PhysAddr::new(start), len))
        };
        Self { manifest: part(16), root: part(32), symbols: part(48), packed: part(64) }
    }

    /// The parts, present or not.
    pub(crate) fn parts(&self) -> [Option<PhysRange>; 4] {
        [self.manifest, self.root, self.symbols, self.packed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let mut section = [0; LEN];
        section[..8].copy_from_slice(MAGIC);
        section[8] = 1;
        assert_eq!(LinkDirectory::parse(&section), LinkDirectory::default());
        section[32..40].copy_from_slice(&0x40_0000u64.to_le_bytes());
        section[40..48].copy_from_slice(&0x1234u64.to_le_bytes());
        let root = PhysRange::new(PhysAddr::new(0x40_0000), 0x1234);
        assert_eq!(LinkDirectory::parse(&section), LinkDirectory { root: Some(root), ..Default::default() });
        section[8] = 2;
        assert_eq!(LinkDirectory::parse(&section), LinkDirectory::default());
    }
}
