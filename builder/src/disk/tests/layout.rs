//! The partition table and what is in the partitions.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use super::*;

/// Writes the bytes of a partition to a file of their own.
fn extract(written: &Written, partition: &Partition) -> NamedTempFile {
    let bytes = written.bytes(Format::Raw);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&bytes[partition.start as usize..][..partition.len as usize]).unwrap();
    file
}

#[test]
fn the_tools_of_others_accept_the_disk() {
    let (root, program) = (root(300_000), content(700_000));
    let disk = Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap();
    let written = Written::new(&disk, &[]);
    let raw = written.path("raw");
    let verdict = run("sgdisk", &["-v", raw.to_str().unwrap()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = run("sgdisk", &["-p", raw.to_str().unwrap()]);
    for row in ["EF02  isopod-stage", "EF00  isopod-efi", "8304  isopod-root"] {
        assert!(table.contains(row), "{table}");
    }

    let [stage, efi, root_partition] = disk.partitions() else { panic!("{:?}", disk.partitions()) };
    assert!([efi, root_partition].iter().all(|partition| partition.start.is_multiple_of(ALIGNMENT)));
    let bytes = written.bytes(Format::Raw);
    assert_eq!(bytes[..3], [0xfa, 0x31, 0xc0], "cli; xor ax, ax");

    // What the stage loads is where its table says.
    let word = |at: usize| u32::from_le_bytes(*bytes[stage.start as usize + at..].first_chunk().unwrap());
    assert_eq!((word(8), word(12)), (0x20_1234, 4 << 20));
    let load = |number: usize| [0, 4, 8, 12, 16].map(|at| word(16 + 24 * number + at));
    let [sector, _, to, len, zero] = load(0);
    assert_eq!((to, len, zero), (2 << 20, 5000, 100));
    assert!(sector.is_multiple_of(4), "sectors of a CD are four");
    assert_eq!(bytes[sector as usize * 512..][..5000], program[8192 + 4096..][..5000]);
    let [sector, _, to, len, zero] = load(1);
    assert_eq!((u64::from(sector) * 512, to, zero), (root_partition.start, 3 << 20, 0));
    assert_eq!(u64::from(len), std::fs::metadata(root.path()).unwrap().len());
    assert_eq!(load(2)[2], 0, "the table ends");

    let efi = extract(&written, efi);
    run("fsck.fat", &["-n", "-v", efi.path().to_str().unwrap()]);
    let read = |path: &str| {
        let copy = written.path("copy");
        let from = format!("::{path}");
        run("mcopy", &["-n", "-o", "-i", efi.path().to_str().unwrap(), &from, copy.to_str().unwrap()]);
        std::fs::read(copy).unwrap()
    };
    assert_eq!(read(EFI), program);
    assert_eq!(read("EFI/ISOPOD/EMPTY"), b"");
    assert_eq!(read("EFI/ISOPOD/NOTE.TXT"), b"note");

    let partition = extract(&written, root_partition);
    run("fsck.erofs", &[partition.path().to_str().unwrap()]);
    let (bytes, image) = (std::fs::read(partition.path()).unwrap(), std::fs::read(root.path()).unwrap());
    assert_eq!(bytes[..image.len()], image);
    assert_eq!(bytes[image.len()..][..MANIFEST.len()], *MANIFEST);
}

#[test]
fn the_partition_of_the_firmware_takes_files_of_all_sizes() {
    let root = root(1);
    // One cluster more or less at each size that a cluster can have, and what needs larger ones.
    for size in [0, 511, 512, 513, 3 << 20, 31 << 20, 33 << 20, 65 << 20] {
        let program = vec![0xc3; size];
        let disk = Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap();
        let written = Written::new(&disk, &[]);
        let efi = extract(&written, disk.partition(Kind::Efi).unwrap());
        run("fsck.fat", &["-n", efi.path().to_str().unwrap()]);
        let info = run("minfo", &["-i", efi.path().to_str().unwrap(), "::"]);
        assert!(info.contains("FAT16"), "{info}");
    }
}

#[test]
fn a_disk_has_few_bytes_beside_its_contents() {
    let (root, program) = (root(300_000), content(1_200_000));
    let disk = Disk::plan(contents(root.as_file(), &program), None, ALIGNMENT).unwrap();
    let written = Written::new(&disk, &[]);
    let raw = std::fs::metadata(written.path("raw")).unwrap();
    let own = std::fs::metadata(root.path()).unwrap().len() + program.len() as u64;
    assert!(raw.len() <= own + (6 << 20), "{} bytes for {own}", raw.len());
    assert!(raw.blocks() * 512 <= own + (100 << 10), "{} bytes on disk for {own}", raw.blocks() * 512);
}

#[test]
fn the_same_contents_have_the_same_identifiers_and_others_others() {
    let root = root(1000);
    let ids = |identity: &[u8]| {
        let identity = Digest::of(identity);
        let contents = Contents { identity, ..contents(root.as_file(), b"program") };
        let disk = Disk::plan(contents, None, ALIGNMENT).unwrap();
        let partition = disk.partition(Kind::Root).unwrap();
        assert_eq!(root_partition(identity, MANIFEST), partition.id, "what the guest looks for");
        disk.partitions().iter().map(|partition| partition.id).chain([disk.id]).collect::<Vec<_>>()
    };
    let (first, other) = (ids(b"a"), ids(b"b"));
    assert_eq!(first, ids(b"a"));
    assert!(first.iter().all(|id| !other.contains(id)));
    let unique: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(unique.len(), first.len());
    assert!(first.iter().all(|id| id.get_version_num() == 8));
}

#[test]
fn sizes_are_kept_rounded_and_refused() {
    let root = root(1 << 20);
    let plan = |size, rounding| Disk::plan(contents(root.as_file(), b"program"), size, rounding);
    let needed = plan(None, ALIGNMENT).unwrap().size();
    assert_eq!(plan(Some(needed), ALIGNMENT).unwrap().size(), needed);
    assert_eq!(plan(Some(64 << 20), ALIGNMENT).unwrap().size(), 64 << 20);
    assert_eq!(plan(None, 1 << 30).unwrap().size(), 1 << 30);
    let error = plan(Some(needed - 1), ALIGNMENT).unwrap_err();
    assert!(matches!(error, DiskError::TooSmall { .. }), "{error}");
    assert!(error.hint().contains(&format!("{} MiB", needed >> 20)), "{}", error.hint());
}

#[test]
fn what_has_no_place_is_refused() {
    let root = root(1);
    let plan = |contents| Disk::plan(contents, None, ALIGNMENT).map(|disk| disk.size());
    let with = |path| {
        let efi = vec![EfiFile { path, data: Data::from(vec![1]) }];
        plan(Contents { efi, ..contents(root.as_file(), b"") })
    };
    assert!(with("EFI/BOOT/BOOTX64.EFI").is_ok());
    for bad in ["efi/boot", "EFI/BOOT/LONGERNAME.EFI", "A.LONG", "/EFI", "EFI//BOOT", ""] {
        assert!(matches!(with(bad), Err(DiskError::EfiName(name)) if name == bad));
    }
    let huge = Data::File { file: root.as_file(), start: 0, len: 3 << 30 };
    let efi = vec![EfiFile { path: EFI, data: huge }];
    let error = plan(Contents { efi, ..contents(root.as_file(), b"") }).unwrap_err();
    assert!(matches!(error, DiskError::EfiTooLarge { .. }), "{error}");
    let large = NamedTempFile::new().unwrap();
    large.as_file().set_len(5 << 30).unwrap();
    let error = plan(contents(large.as_file(), b"")).unwrap_err();
    assert!(matches!(error, DiskError::RootTooLarge { .. }), "{error}");
    let part = NamedTempFile::new().unwrap();
    part.as_file().set_len(5000).unwrap();
    let error = plan(contents(part.as_file(), b"")).unwrap_err();
    assert!(error.to_string().contains("not a whole file system"), "{error}");
}
