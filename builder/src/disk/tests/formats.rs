//! Each format holds the disk's bytes, as `qemu-img` reads it.

use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;

use proptest::prelude::*;

use super::super::content::{Bytes, GRAIN, Piece};
use super::*;

/// Those that `qemu-img` reads, by its names.
const READABLE: [(Format, &str); 6] = [
    (Format::Qcow2, "qcow2"),
    (Format::Vmdk, "vmdk"),
    (Format::VmdkSparse, "vmdk"),
    (Format::Vhd, "vpc"),
    (Format::Vhdx, "vhdx"),
    // A CD of a disk is that disk, but for the volume in the space that the partition table leaves free.
    (Format::Iso, "raw"),
];

fn check(disk: &Disk<'_>) -> Written {
    let written = Written::new(disk, &READABLE.map(|(format, _)| format));
    for (format, name) in READABLE {
        let path = written.path(format.name());
        if matches!(format, Format::Qcow2 | Format::Vhdx | Format::Vmdk | Format::VmdkSparse) {
            run("qemu-img", &["check", "-f", name, path.to_str().unwrap()]);
        }
        if format == Format::Iso {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .write_all_at(&vec![0; 32 << 10], 32 << 10)
                .unwrap();
        }
        written.compare(&path, name);
    }
    written
}

/// A disk that is no more than stretches of bytes.
fn disk(size: u64, stretches: &[(u64, Vec<u8>)]) -> Disk<'static> {
    let pieces =
        stretches.iter().map(|(offset, bytes)| Piece { offset: *offset, data: Data::from(bytes.clone()) });
    Disk {
        bytes: Bytes::new(size, pieces.collect()),
        id: super::super::layout::derived(b"", "disk"),
        partitions: Vec::new(),
    }
}

#[test]
fn every_format_holds_a_disk() {
    let (root, program) = (root(3_000_000), content(700_000));
    check(&Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap());
}

#[test]
fn tables_that_take_more_than_one_block_are_right() {
    // Several L2 tables and grain tables, several chunks of a VHDX's, several stretches; data at the very ends; a stretch of zeros.
    let size = 9 << 30;
    let stretches = [
        (0, vec![1; 10]),
        ((512 << 20) - 100, content(1000)),
        ((512 << 20) + GRAIN * 5, vec![0; 3 * GRAIN as usize]),
        ((4 << 30) + 5, content(2_000_000)),
        ((8 << 30) - (1 << 20), content(3 << 20)),
        (size - 1, vec![9]),
    ];
    let written = check(&disk(size, &stretches));
    for (format, _) in READABLE.iter().filter(|(format, _)| *format != Format::Vhdx) {
        // Nothing holds the zeros between.
        let blocks = std::fs::metadata(written.path(format.name())).unwrap().blocks();
        assert!(blocks * 512 < 10 << 20, "{format} takes {} KiB", blocks / 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn every_format_holds_any_disk(
        stretches in prop::collection::vec((0u64..20 << 20, any::<u8>(), 1usize..1 << 20), 0..7),
    ) {
        let mut at = 0;
        let mut pieces = Vec::new();
        for (gap, byte, len) in stretches {
            // The space of a CD's volume stays free, as on every disk that is written as one.
            at = (at + gap).max(64 << 10);
            pieces.push((at, vec![byte; len]));
            at += len as u64;
        }
        check(&disk(at.next_multiple_of(ALIGNMENT).max(ALIGNMENT), &pieces));
    }
}

#[test]
fn the_same_disk_has_the_same_bytes() {
    let (root, program) = (root(100_000), content(50_000));
    let build = || {
        let disk = Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap();
        let written = Written::new(&disk, &Format::ALL[1..]);
        Format::ALL.map(|format| Digest::of(&written.bytes(format)))
    };
    assert_eq!(build(), build());
}

#[test]
fn a_full_disk_is_told_for_each_format() {
    let root = root(100_000);
    let disk = Disk::plan(contents(root.as_file(), b"program"), None, ALIGNMENT).unwrap();
    for format in Format::ALL {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let error = write(&disk, &machine(), &[(format, &full)]).unwrap_err();
        assert!(matches!(&error, DiskError::Write { format: named, .. } if *named == format), "{error}");
        // Where a file's length is set first, a device refuses that.
        if format != Format::Vhdx {
            assert!(error.hint().contains("free some space"), "{format}: {error}");
        }
    }
}

#[test]
fn a_disk_that_a_format_has_no_room_for_is_refused_before_anything_is_written() {
    let file = tempfile::tempfile().unwrap();
    let refused = |format, size| {
        let disk = disk(size, &[(0, vec![1])]);
        let error = write(&disk, &machine(), &[(Format::Qcow2, &file), (format, &file)]).unwrap_err();
        assert!(matches!(&error, DiskError::TooLarge { format: named, .. } if *named == format), "{error}");
        assert_eq!(file.metadata().unwrap().len(), 0);
    };
    refused(Format::Vhd, 3 << 40);
    refused(Format::Vmdk, 3 << 40);
    refused(Format::Iso, 3 << 40);
}

#[test]
fn memory_does_not_grow_with_the_disk() {
    let root = NamedTempFile::new().unwrap();
    root.as_file().set_len(160 << 20).unwrap();
    let disk = Disk::plan(contents(root.as_file(), b"program"), None, ALIGNMENT).unwrap();
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    let before = peak();
    Written::new(&disk, &[Format::Qcow2, Format::Vmdk, Format::Vhd, Format::Vhdx]);
    assert!(peak() - before < 40 << 20, "{} MiB more", (peak() - before) >> 20);
}
