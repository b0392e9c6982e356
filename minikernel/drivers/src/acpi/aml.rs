//! A minimal scan of AML, the byte code of DSDT and SSDT (ACPI 20.2).
//!
//! Two facts are wanted of it, and both are constants wherever they matter: where the virtio-mmio devices are, and
//! the sleep type of `_S5`. So nothing is interpreted: the scan looks for the encoding of a `Name` with the wanted
//! value and reads the constants beside it. AML that computes them yields nothing, which is reported as absence.

use alloc::vec::Vec;
use core::iter;

use super::{Line, Polarity, Trigger};
use crate::bytes;

const NAME_OP: u8 = 0x08;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const STRING_PREFIX: u8 = 0x0d;
const BUFFER_OP: u8 = 0x11;
const PACKAGE_OP: u8 = 0x12;
const ROOT_CHAR: u8 = b'\\';
const DEVICE_OP: [u8; 2] = [0x5b, 0x82];

/// Most devices that are looked at: each costs a search of its body, and hostile code could name any number.
const MOST_DEVICES: usize = 64;

/// A device with one range of memory and one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    /// Physical address of its registers.
    pub base: u64,
    /// Length of the range in bytes.
    pub size: u64,
    /// Its interrupt.
    pub line: Line,
}

/// All devices whose `_HID` is the string `hid` and whose `_CRS` is constant, in the order of the code.
pub fn devices(code: &[u8], hid: [u8; 8]) -> Vec<MmioDevice> {
    let name = [[NAME_OP].as_slice(), b"_HID", &[STRING_PREFIX], &hid, &[0]].concat();
    // Of all the letters and zeros in AML a last digit is the rarest.
    let places = occurrences(code, &name, 13).take(MOST_DEVICES);
    places.filter_map(|at| resources(enclosing_device(code, at)?)).collect()
}

/// The body of the innermost device around the byte at `at`.
fn enclosing_device(code: &[u8], at: usize) -> Option<&[u8]> {
    (0..at).rev().find_map(|start| {
        let rest = code.get(start..)?.strip_prefix(&DEVICE_OP)?;
        let body = package(rest)?;
        let end = start + DEVICE_OP.len() + body.offset + body.bytes.len();
        (at < end).then_some(body.bytes)
    })
}

/// Where `needle` occurs. The byte at index `rare` of it should be one that is seldom met: the code is passed over by
/// blocks that do not have it, which a vector unit sees at a glance.
pub(super) fn occurrences(code: &[u8], needle: &[u8], rare: usize) -> impl Iterator<Item = usize> {
    const BLOCK: usize = 64;
    let wanted = needle[rare];
    let has =
        move |block: &[u8; BLOCK]| block.iter().fold(0, |any, byte| any | u8::from(*byte == wanted)) != 0;
    let mut at = 0;
    iter::from_fn(move || {
        while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
            if rest.first_chunk().is_some_and(|block| !has(block)) {
                at += BLOCK;
                continue;
            }
            let block = &rest[..rest.len().min(BLOCK)];
            let Some(found) = block.iter().position(|byte| *byte == wanted) else {
                at += block.len();
                continue;
            };
            at += found + 1;
            let start = (at - 1).checked_sub(rare);
            if let Some(start) = start.filter(|start| code[*start..].starts_with(needle)) {
                return Some(start);
            }
        }
        None
    })
}

/// The part of the code that a `PkgLength` spans, without the length itself.
struct Package<'a> {
    /// Bytes that encode the length.
    offset: usize,
    bytes: &'a [u8],
}

/// `PkgLength` (ACPI 20.2.4): the upper two bits of the first byte count the bytes that follow; the value includes
/// its own encoding.
fn package(code: &[u8]) -> Option<Package<'_>> {
    let first = *code.first()?;
    let more = usize::from(first >> 6);
    let mut length = if more == 0 { usize::from(first & 0x3f) } else { usize::from(first & 0x0f) };
    for (index, byte) in code.get(1..=more)?.iter().enumerate() {
        length |= usize::from(*byte) << (4 + 8 * index);
    }
    Some(Package { offset: 1 + more, bytes: code.get(1 + more..length)? })
}

/// A constant integer and the code after it.
fn integer(code: &[u8]) -> Option<(u64, &[u8])> {
    let (prefix, rest) = code.split_first()?;
    match *prefix {
        0 | 1 => Some((u64::from(*prefix), rest)),
        0xff => Some((u64::MAX, rest)),
        BYTE_PREFIX => Some((u64::from(bytes::u8(rest, 0)?), rest.get(1..)?)),
        WORD_PREFIX => Some((u64::from(bytes::u16(rest, 0)?), rest.get(2..)?)),
        DWORD_PREFIX => Some((u64::from(bytes::u32(rest, 0)?), rest.get(4..)?)),
        _ => None,
    }
}

/// Finds `Name (name, ..)`, with or without the prefix of the root, and returns the code of its value. For `rare`, see
/// [`occurrences`].
fn named(code: &[u8], name: [u8; 4], rare: usize) -> Option<&[u8]> {
    occurrences(code, &name, rare).find_map(|at| {
        let before = &code[..at];
        let is_name = before.ends_with(&[NAME_OP]) || before.ends_with(&[NAME_OP, ROOT_CHAR]);
        code.get(at + 4..).filter(|_| is_name)
    })
}

/// Range and interrupt from a device's constant `_CRS`.
fn resources(device: &[u8]) -> Option<MmioDevice> {
    let value = named(device, *b"_CRS", 1)?;
    let buffer = package(value.strip_prefix(&[BUFFER_OP])?)?;
    let (_, mut descriptors) = integer(buffer.bytes)?;
    let (mut range, mut line) = (None, None);
    while let Some(first) = bytes::u8(descriptors, 0) {
        // ACPI 6.4.1: bit 7 tells large descriptors, with a 16-bit length, from small ones, with a 3-bit length.
        let (header, length) = if first & 0x80 == 0 {
            (1, usize::from(first & 7))
        } else {
            (3, usize::from(bytes::u16(descriptors, 1)?))
        };
        let body = descriptors.get(header..header + length)?;
        match first {
            0x79 => break,
            // Memory32Fixed
            0x86 => {
                range = range.or(Some((u64::from(bytes::u32(body, 1)?), u64::from(bytes::u32(body, 5)?))));
            }
            // DWordMemory and QWordMemory: type 0 is memory; minimum and length are the second and fifth number.
            0x87 if bytes::u8(body, 0)? == 0 => {
                range = range.or(Some((u64::from(bytes::u32(body, 7)?), u64::from(bytes::u32(body, 19)?))));
            }
            0x8a if bytes::u8(body, 0)? == 0 => {
                range = range.or(Some((bytes::u64(body, 11)?, bytes::u64(body, 35)?)));
            }
            0x89 => line = line.or(interrupt(body)),
            _ => {}
        }
        descriptors = &descriptors[header + length..];
    }
    let (base, size) = range?;
    Some(MmioDevice { base, size, line: line? })
}

/// The first line of an extended interrupt descriptor (ACPI 6.4.3.6).
fn interrupt(body: &[u8]) -> Option<Line> {
    const EDGE: u8 = 1 << 1;
    const ACTIVE_LOW: u8 = 1 << 2;
    let flags = bytes::u8(body, 0)?;
    if bytes::u8(body, 1)? == 0 {
        return None;
    }
    Some(Line {
        gsi: bytes::u32(body, 2)?,
        trigger: if flags & EDGE == 0 { Trigger::Level } else { Trigger::Edge },
        polarity: if flags & ACTIVE_LOW == 0 { Polarity::High } else { Polarity::Low },
    })
}

/// The first number of the package of the sleep state `_Sn_` (ACPI 7.4.2): `SLP_TYP` for the first power management
/// register block.
pub fn sleep_type(code: &[u8], state: u8) -> Option<u8> {
    let value = named(code, [b'_', b'S', b'0' + state % 10, b'_'], 2)?;
    let elements = package(value.strip_prefix(&[PACKAGE_OP])?)?.bytes;
    // The count of elements comes first.
    let (value, _) = integer(elements.get(1..)?)?;
    u8::try_from(value).ok()
}
