//! The boot directory: how a linked kernel finds its manifest and its root.
//!
//! The kernel keeps a section of its own for it, in a segment that is loaded:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic, `ISOPODLK` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | reserved, zero |
//! | 16 | 8 | physical address of the manifest, zero when nothing is linked |
//! | 24 | 8 | its length in bytes |
//! | 32 | 8 | physical address of the root |
//! | 40 | 8 | its length in bytes |
//! | 48 | 8 | physical address of the kernel's symbol table, in the form of [`super::symbols`] |
//! | 56 | 8 | its length in bytes |
//! | 64 | 8 | physical address of the kernel's packed code, in the form of `isopod_packed` |
//! | 72 | 8 | its length in bytes |
//!
//! All numbers are little endian.

use super::LinkError;

/// The section's name in the kernel's ELF.
pub(super) const SECTION: &[u8] = b".isopod.link";

/// Its size in bytes.
pub(super) const SIZE: usize = 80;

/// Where the root's address is in it.
pub(super) const ROOT: u64 = 32;

const MAGIC: &[u8; 8] = b"ISOPODLK";
const VERSION: u32 = 1;

/// Where the linked parts lie in guest-physical memory. A part that is not there has the length zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BootDirectory {
    pub manifest: Extent,
    pub root: Extent,
    pub symbols: Extent,
    pub packed: Extent,
}

/// A piece of guest-physical memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first address.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl BootDirectory {
    /// The section's bytes.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let extents = [self.manifest, self.root, self.symbols, self.packed];
        for (place, extent) in bytes[16..].chunks_exact_mut(16).zip(extents) {
            place[..8].copy_from_slice(&extent.start.to_le_bytes());
            place[8..].copy_from_slice(&extent.length.to_le_bytes());
        }
        bytes
    }

    /// Reads a section that [`Self::encode`] wrote; `None` for anything else, a kernel without a manifest included.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<SIZE>()?;
        let word =
            |at: usize| bytes[at..].first_chunk().map_or(0, |word: &[u8; 8]| u64::from_le_bytes(*word));
        let extent = |at| Extent { start: word(at), length: word(at + 8) };
        let found = Self { manifest: extent(16), root: extent(32), symbols: extent(48), packed: extent(64) };
        (bytes[..8] == *MAGIC && bytes[8..12] == VERSION.to_le_bytes() && found.manifest.length != 0)
            .then_some(found)
    }

    /// Refuses a kernel whose section is not the empty one of this version.
    pub fn check_empty(bytes: &[u8]) -> Result<(), LinkError> {
        if bytes == Self::default().encode() {
            return Ok(());
        }
        Err(LinkError::Kernel("its boot directory is not an empty one of version 1".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_tells_empty_from_filled() {
        let filled = BootDirectory {
            manifest: Extent { start: 0x30_0000, length: 77 },
            root: Extent { start: 0x30_1000, length: 8192 },
            symbols: Extent { start: 0x2f_0000, length: 12 },
            packed: Extent { start: 0x2e_0000, length: 34 },
        };
        assert_eq!(BootDirectory::decode(&filled.encode()), Some(filled));
        let empty = BootDirectory::default().encode();
        assert_eq!(BootDirectory::decode(&empty), None);
        assert!(BootDirectory::check_empty(&empty).is_ok());
        assert!(BootDirectory::check_empty(&filled.encode()).is_err());
        assert!(BootDirectory::check_empty(&empty[..32]).is_err());
    }
}
