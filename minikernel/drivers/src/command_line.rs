//! Devices on the kernel's command line, for machines without ACPI.
//!
//! The syntax is Linux's: `virtio_mmio.device=SIZE@BASE:IRQ[:ID]`, as QEMU's microvm and Firecracker write it.

use crate::acpi::{Line, MmioDevice, Polarity, Trigger};

/// All words of the form `virtio_mmio.device=..`, in their order; words that do not parse are given to `rejected`.
pub fn virtio_mmio_devices<'a>(
    command_line: &'a [u8],
    mut rejected: impl FnMut(&'a [u8]),
) -> impl Iterator<Item = MmioDevice> {
    words(command_line).filter_map(move |word| {
        let value = word.strip_prefix(b"virtio_mmio.device=")?;
        let device = device(value);
        if device.is_none() {
            rejected(word);
        }
        device
    })
}

/// Whether `word` stands on the command line by itself.
pub fn has_word(command_line: &[u8], word: &[u8]) -> bool {
    words(command_line).any(|other| other == word)
}

fn words(command_line: &[u8]) -> impl Iterator<Item = &[u8]> {
    command_line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// `SIZE@BASE:IRQ[:ID]`. The identifier only names the device in Linux's sysfs.
fn device(value: &[u8]) -> Option<MmioDevice> {
    let at = value.iter().position(|byte| *byte == b'@')?;
    let (size, rest) = (&value[..at], &value[at + 1..]);
    let mut fields = rest.split(|byte| *byte == b':');
    let (base, gsi) = (number(fields.next()?)?, number(fields.next()?)?);
    if let Some(identifier) = fields.next() {
        number(identifier)?;
    }
    let size = number(size).filter(|size| *size != 0)?;
    base.checked_add(size)?;
    let line = Line {
        gsi: u32::try_from(gsi).ok()?,
        // The syntax has no room for it. Edge serves both a VMM that pulses the line (Firecracker) and one that
        // holds it until the acknowledgement (QEMU): the drivers acknowledge before they look at a queue.
        trigger: Trigger::Edge,
        polarity: Polarity::High,
    };
    fields.next().is_none().then_some(MmioDevice { base, size, line })
}

/// A number as Linux's `memparse` reads it: decimal, `0x` hexadecimal or `0` octal, with a suffix K, M or G.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 10),
        (b'm' | b'M', digits) => (digits, 20),
        (b'g' | b'G', digits) => (digits, 30),
        _ => (text, 0),
    };
    let (digits, radix) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (rest, 16),
        [b'0', rest @ ..] if !rest.is_empty() => (rest, 8),
        _ => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        number.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    });
    number?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &[u8]) -> (Vec<MmioDevice>, Vec<&[u8]>) {
        let mut rejected = Vec::new();
        let devices = virtio_mmio_devices(line, |word| rejected.push(word)).collect();
        (devices, rejected)
    }

    fn at(base: u64, size: u64, gsi: u32) -> MmioDevice {
        MmioDevice { base, size, line: Line { gsi, trigger: Trigger::Edge, polarity: Polarity::High } }
    }

    #[test]
    fn reads_what_qemu_and_firecracker_write() {
        let line =
            b"reboot=k virtio_mmio.device=512@0xfeb00e00:12 pci=off virtio_mmio.device=4K@0xd0000000:5:0";
        let (devices, rejected) = parse(line);
        assert_eq!(devices, [at(0xfeb0_0e00, 512, 12), at(0xd000_0000, 4096, 5)]);
        assert!(rejected.is_empty());
        assert!(has_word(line, b"pci=off") && !has_word(line, b"pci"));
    }

    #[test]
    fn knows_suffixes_and_radixes() {
        for (text, value) in [("010", 8), ("0x1g", 1 << 30), ("3M", 3 << 20), ("0", 0), ("7k", 7168)] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text}");
        }
        for text in
            ["", "k", "0x", "08", "-1", "+1", "0x+1", "1T", "99999999999999999999", "0xffffffffffffffffG"]
        {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_words_that_do_not_parse() {
        for bad in [
            "",
            "512",
            "512@",
            "512@1",
            "@1:2",
            "0@1:2",
            "1@2:3:4:5",
            "1@2:x",
            "2@0xffffffffffffffff:1",
            "1@1:4G",
        ] {
            let word = alloc::format!("virtio_mmio.device={bad}");
            let (devices, rejected) = parse(word.as_bytes());
            assert_eq!((devices, rejected), (Vec::new(), alloc::vec![word.as_bytes()]));
        }
    }

    proptest! {
        #[test]
        fn survives_anything(line in proptest::collection::vec(any::<u8>(), 0..200), tail in "[0-9a-gkmx@:]{0,30}") {
            parse(&line);
            parse(alloc::format!("virtio_mmio.device={tail}").as_bytes());
        }

        #[test]
        fn reads_back_what_was_written(base in 0..1u64 << 48, size in 1..1u64 << 20, gsi in any::<u32>()) {
            let line = alloc::format!("virtio_mmio.device={size}@{base:#x}:{gsi}");
            prop_assert_eq!(parse(line.as_bytes()).0, alloc::vec![at(base, size, gsi)]);
        }
    }
}
