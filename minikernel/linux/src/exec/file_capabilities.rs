//! The capabilities that a file gives to whoever executes it: capabilities(7), "File capabilities".

use isopod_fs::file::OpenFile;
use isopod_fs::{Capabilities, Errno, Error};

use crate::process::ALL_CAPABILITIES;

/// The extended attribute that holds them.
const NAME: &[u8] = b"security.capability";

/// `struct vfs_ns_cap_data`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Permitted as far as the caller's bounding set allows.
    pub permitted: Capabilities,
    /// Permitted as far as the caller's inheritable set has them.
    pub inheritable: Capabilities,
    /// What is permitted is in force at once, for programs that know nothing of capabilities.
    pub effective: bool,
}

impl FileCapabilities {
    /// Those of `file`, if it has any.
    pub fn of(file: &OpenFile) -> isopod_fs::Result<Option<Self>> {
        match file.inode().xattr(NAME) {
            Ok(value) => Ok(Self::parse(&value)?),
            Err(Error::Errno(Errno::ENODATA | Errno::EOPNOTSUPP)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From the attribute's value (`get_vfs_caps_from_disk`). `EINVAL` for one of an unknown version or a wrong size. What is meant for the
    /// root of another user namespace is nothing here.
    fn parse(value: &[u8]) -> Result<Option<Self>, Errno> {
        const REVISION: u32 = 0xff00_0000;
        const EFFECTIVE: u32 = 1;
        let mut words = [0; 6];
        for (word, bytes) in words.iter_mut().zip(value.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let [head, permitted, inheritable, permitted_high, inheritable_high, root] = words;
        match (head & REVISION, value.len()) {
            (0x0100_0000, 12) | (0x0200_0000, 20) => {}
            (0x0300_0000, 24) if root == 0 => {}
            (0x0300_0000, 24) => return Ok(None),
            _ => return Err(Errno::EINVAL),
        }
        let set = |low: u32, high: u32| {
            Capabilities::from_bits_retain(u64::from(low) | u64::from(high) << 32) & ALL_CAPABILITIES
        };
        Ok(Some(Self {
            permitted: set(permitted, permitted_high),
            inheritable: set(inheritable, inheritable_high),
            effective: head & EFFECTIVE != 0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn value(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn each_version_has_its_size() {
        let parse = |words: &[u32]| FileCapabilities::parse(&value(words));
        let bits = |found: Option<FileCapabilities>| {
            found.map(|found| (found.permitted.bits(), found.inheritable.bits(), found.effective))
        };
        assert_eq!(parse(&[0x0100_0000, 1, 2]).map(bits), Ok(Some((1, 2, false))));
        assert_eq!(parse(&[0x0200_0001, 1, 2, 1, 0]).map(bits), Ok(Some((1 | 1 << 32, 2, true))));
        assert_eq!(parse(&[0x0300_0001, 1, 2, 1, 0, 0]).map(bits), Ok(Some((1 | 1 << 32, 2, true))));
        // Bits beyond the last capability count for nothing.
        assert_eq!(parse(&[0x0200_0000, 0, 0, !0, 0]).map(bits), Ok(Some((0x1ff << 32, 0, false))));
        assert_eq!(parse(&[0x0300_0001, 1, 2, 1, 0, 1000]), Ok(None));
        for bad in [&[0x0200_0000, 1, 2][..], &[0x0400_0000, 1, 2, 0, 0], &[0x0100_0000], &[]] {
            assert_eq!(parse(bad), Err(Errno::EINVAL));
        }
    }
}
