//! Fixed VHD: a disk's bytes and a footer of 512 bytes
//! ([Microsoft's specification](https://learn.microsoft.com/windows/win32/vstor/about-vhd)), by the rules of Azure: the size is a
//! multiple of 1 MiB, and the footer's own size counts, whatever its geometry says.

use uuid::Uuid;

/// The largest disk that the format has: 2,040 GiB.
pub(super) const LIMIT: u64 = 2040 << 30;

/// The footer of a disk of `size` bytes.
pub(super) fn footer(size: u64, id: Uuid) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"conectix");
    put(8, &2u32.to_be_bytes()); // features: the bit that is always set
    put(12, &0x0001_0000u32.to_be_bytes()); // version of the format
    put(16, &u64::MAX.to_be_bytes()); // no header of a dynamic disk
    // The time, from byte 24 on, is the first moment of 2000: the same disk has the same bytes.
    // Readers that know several ways to find the size choose the footer's for this creator.
    put(28, b"win \x00\x0a\x00\x00Wi2k");
    put(40, &size.to_be_bytes());
    put(48, &size.to_be_bytes());
    // Cylinders, heads and sectors: the largest there are, which stands for "see the size".
    put(56, &[0xff, 0xff, 16, 255]);
    put(60, &2u32.to_be_bytes()); // a fixed disk
    put(68, id.as_bytes());
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[64..68].copy_from_slice(&(!sum).to_be_bytes());
    bytes
}
