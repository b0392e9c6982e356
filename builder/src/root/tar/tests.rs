use std::io::Cursor;
use std::process::Command;

use ::tar::Builder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::root::tree::Timestamp;

/// All entries of an archive, or what was wrong.
fn entries(archive: &[u8]) -> Result<Vec<Entry>, TarError> {
    let mut reader = Reader::new(Cursor::new(archive)).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// The contents of an entry, holes filled.
fn contents(archive: &[u8], kind: &EntryKind) -> Vec<u8> {
    let EntryKind::File { offset, len, extents } = kind else { panic!("{kind:?}") };
    let at = *offset as usize;
    let Some(extents) = extents else { return archive[at..][..*len as usize].to_vec() };
    let mut bytes = vec![0; *len as usize];
    for extent in extents {
        let data = &archive[at + extent.physical as usize..][..extent.len as usize];
        bytes[extent.logical as usize..][..extent.len as usize].copy_from_slice(data);
    }
    bytes
}

fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(7);
    header.set_cksum();
    header
}

/// What GNU tar makes of the files that `script` puts into a directory.
fn gnu_tar(script: &str, options: &[&str]) -> (TempDir, Vec<u8>) {
    let dir = TempDir::new().unwrap();
    let made = Command::new("bash").args(["-euc", script]).current_dir(dir.path()).status().unwrap();
    assert!(made.success());
    let output =
        Command::new("tar").current_dir(dir.path()).args(options).args(["-cf", "-", "."]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (dir, output.stdout)
}

#[test]
fn sparse_files_of_every_format_are_read() {
    // Many pieces, so that the old format needs blocks behind the header and the newest more than one block of map.
    let script = "for i in $(seq 0 60); do printf data$i | dd of=s bs=1 seek=$((i * 20000 + 4096)) conv=notrunc status=none; done
        truncate -s 3000000 s; printf after > t; truncate -s 100000 nothing";
    let formats: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let (dir, archive) = gnu_tar(script, &[format, &["--sparse", "--sort=name"]].concat());
        let entries = entries(&archive).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
        assert_eq!(names, ["./", "./nothing", "./s", "./t"], "{format:?}");
        for entry in &entries[1..] {
            let path = dir.path().join(std::str::from_utf8(&entry.path).unwrap());
            assert!(contents(&archive, &entry.kind) == std::fs::read(&path).unwrap(), "{format:?} {path:?}");
        }
        let sparse = |index: usize| matches!(&entries[index].kind, EntryKind::File { extents: Some(_), .. });
        assert!(sparse(1) && sparse(2) && !sparse(3));
    }
}

#[test]
fn long_names_of_both_kinds_and_fine_times_are_read() {
    let script = "n=$(printf '%0200d' 1); mkdir $n; echo x > $n/$n; ln $n/$n hard; ln -s $n/$n soft
        touch -h -d '2001-02-03 04:05:06.789012345 UTC' soft; touch -d '1969-12-31 23:59:58.5 UTC' hard";
    for format in ["gnu", "posix"] {
        let (_dir, archive) = gnu_tar(script, &["--format", format, "--sort=name"]);
        let entries = entries(&archive).unwrap();
        let long = format!("{:0200}", 1);
        let find = |name: &str| entries.iter().find(|entry| entry.path == name.as_bytes()).unwrap();
        assert_eq!(
            find("./soft").kind,
            EntryKind::Symlink(format!("{long}/{long}").into_bytes()),
            "{format}"
        );
        assert_eq!(find("./hard").kind, EntryKind::HardLink(format!("./{long}/{long}").into_bytes()));
        let nanos = if format == "posix" { 789_012_345 } else { 0 };
        assert_eq!(find("./soft").meta.mtime, Timestamp { seconds: 981_173_106, nanos });
        // GNU tar writes times before 1970 in base 256.
        let nanos = if format == "posix" { 500_000_000 } else { 0 };
        assert_eq!(find(&format!("./{long}/{long}")).meta.mtime, Timestamp { seconds: -2, nanos });
    }
}

#[test]
fn global_headers_are_passed_over_with_what_extends_them() {
    let mut builder = Builder::new(Vec::new());
    let global = b"10 uid=42\n10 gid=43\n";
    let header_of_all = header("g", EntryType::XGlobalHeader, global.len() as u64);
    builder.append(&header_of_all, &global[..]).unwrap();
    builder.append(&header("a", EntryType::Regular, 0), &b""[..]).unwrap();
    builder.append_pax_extensions([("uid", &b"7"[..])]).unwrap();
    builder.append(&header("b", EntryType::Regular, 0), &b""[..]).unwrap();
    builder.append_pax_extensions([("uid", &b"8"[..])]).unwrap();
    builder.append(&header_of_all, &global[..]).unwrap();
    builder.append(&header("c", EntryType::Regular, 0), &b""[..]).unwrap();
    let ids: Vec<_> = entries(&builder.into_inner().unwrap())
        .unwrap()
        .iter()
        .map(|entry| (entry.meta.uid, entry.meta.gid))
        .collect();
    assert_eq!(ids, [(0, 0), (7, 0), (0, 0)]);
}

#[test]
fn the_size_of_an_extended_header_frames_the_archive() {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([("size", &b"5"[..])]).unwrap();
    builder.append(&header("a", EntryType::Regular, 0), &b""[..]).unwrap();
    let mut archive = builder.into_inner().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(b"hello");
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive.extend(header("b", EntryType::Regular, 0).as_bytes());
    let entries = entries(&archive).unwrap();
    assert_eq!(contents(&archive, &entries[0].kind), b"hello");
    assert_eq!(entries[1].path, b"b");
}

#[test]
fn what_is_no_file_has_no_contents() {
    let mut archive = header("d", EntryType::Directory, 1 << 40).as_bytes().to_vec();
    archive.extend(header("l", EntryType::Link, 99).as_bytes());
    archive.extend(header("f", EntryType::Regular, 0).as_bytes());
    assert_eq!(entries(&archive).unwrap().len(), 3);
}

#[test]
fn directories_before_posix_end_with_a_slash() {
    let mut old = Header::new_old();
    old.as_old_mut().name[..2].copy_from_slice(b"d/");
    old.set_cksum();
    assert_eq!(entries(old.as_bytes()).unwrap()[0].kind, EntryKind::Directory);
}

#[test]
fn broken_archives_are_refused() {
    let problem = |archive: &[u8]| {
        let error = entries(archive).unwrap_err();
        (error.offset, error.problem)
    };
    let whole = header("f", EntryType::Regular, 0);
    assert!(matches!(problem(b"no tar"), (0, TarProblem::Truncated)));
    assert!(matches!(problem(&[7; 512]), (0, TarProblem::Checksum)));
    let lies = header("f", EntryType::Regular, 1 << 33);
    let archive = [whole.as_bytes(), &lies.as_bytes()[..]].concat();
    assert!(matches!(problem(&archive), (512, TarProblem::Size { claimed: 0x2_0000_0000, left: 0 })));
    let message = entries(&archive).unwrap_err().to_string();
    assert_eq!(
        message,
        "entry `f`: it claims 8589934592 bytes, but the archive has only 0 more (header at byte 512 of the uncompressed tar)"
    );
    let name = header("n", EntryType::GNULongName, 2 << 20);
    assert!(matches!(problem(name.as_bytes()), (0, TarProblem::ExtensionTooLarge)));
    let alone = [header("n", EntryType::GNULongName, 1).as_bytes(), &[b'x'; 512][..]].concat();
    assert!(matches!(problem(&alone), (_, TarProblem::ExtensionAlone)));
    let volume = header("v", EntryType::new(b'V'), 0);
    assert!(matches!(problem(volume.as_bytes()), (0, TarProblem::Type('V'))));
    let mut number = header("f", EntryType::Regular, 0);
    number.as_old_mut().uid = *b"12x4567\0";
    number.set_cksum();
    assert!(matches!(problem(number.as_bytes()), (0, TarProblem::Number("owner"))));
    // A size beyond 64 bits must not be cut to what another reader would not see.
    let mut number = header("f", EntryType::Regular, 0);
    number.as_old_mut().size = *b"\x80\x01\0\0\0\0\0\0\0\0\0\0";
    number.set_cksum();
    assert!(matches!(problem(number.as_bytes()), (0, TarProblem::Number("size"))));
}

#[test]
fn malformed_sparse_maps_are_refused() {
    let sparse = |map: &str, len: &str| {
        let mut builder = Builder::new(Vec::new());
        let records = [("GNU.sparse.major", &b"0"[..]), ("GNU.sparse.minor", b"1")];
        builder
            .append_pax_extensions(
                records
                    .into_iter()
                    .chain([("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", len.as_bytes())]),
            )
            .unwrap();
        builder.append(&header("s", EntryType::Regular, 10), &[1; 10][..]).unwrap();
        entries(&builder.into_inner().unwrap())
    };
    assert!(sparse("0,5,100,5", "1000").is_ok());
    for (map, len) in [
        ("0,5,3,5", "1000"),
        ("100,5,0,5", "1000"),
        ("0,5,998,5", "1000"),
        ("0,20", "1000"),
        ("0,5,100", "1000"),
        ("0,-5", "1000"),
        ("9223372036854775807,9223372036854775807", "9223372036854775807"),
        ("", "1000"),
    ] {
        let map_is_absent = map.is_empty();
        match sparse(map, len) {
            Ok(entries) if map_is_absent => assert_eq!(entries.len(), 1),
            Err(TarError { problem: TarProblem::Sparse, entry, .. }) => assert_eq!(entry, "s"),
            other => panic!("{map}: {other:?}"),
        }
    }
}

/// A gzip of 400 KB holds a map of 40 MB: what becomes memory is bounded by bytes of the map, empty pieces included.
#[test]
fn maps_of_sparse_files_are_bounded() {
    let pax1 = |pieces: usize| {
        let mut map = format!("{pieces}\n{}", "0\n0\n".repeat(pieces)).into_bytes();
        map.resize(map.len().next_multiple_of(512), 0);
        let mut builder = Builder::new(Vec::new());
        let records =
            [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.size", b"9")];
        builder.append_pax_extensions(records).unwrap();
        builder.append(&header("s", EntryType::Regular, map.len() as u64), &*map).unwrap();
        entries(&builder.into_inner().unwrap())
    };
    let old = |blocks: usize| {
        let mut first = header("s", EntryType::GNUSparse, 0);
        let gnu = first.as_gnu_mut().unwrap();
        (gnu.realsize, gnu.isextended) = (*b"00000000011\0", [1]);
        first.set_cksum();
        let mut archive = first.as_bytes().to_vec();
        for index in 1..=blocks {
            let mut block = [b'0'; 512];
            block[504] = u8::from(index < blocks);
            archive.extend(block);
        }
        entries(&archive)
    };
    for (allowed, offset) in
        [(pax1(200_000), 1536 + 800_007_u64.next_multiple_of(512)), (old(2048), 2049 * 512)]
    {
        let empty = EntryKind::File { offset, len: 9, extents: Some(Box::default()) };
        assert_eq!(allowed.unwrap()[0].kind, empty);
    }
    for refused in [pax1(300_000), old(2049)] {
        assert!(matches!(refused, Err(TarError { problem: TarProblem::MapTooLarge, .. })), "{refused:?}");
    }
}

#[test]
fn numbers_have_two_forms() {
    for (field, expected) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"   644 \0", Some(0o644)),
        (b"\0\0\0\0\0\0\0\0", Some(0)),
        (b"        ", Some(0)),
        (b"644\0junk", Some(0o644)),
        (b"8", None),
        (b"-1", None),
        (b"7777777777777777777777", None),
        (b"\x80\0\0\0\0\0\0\x05", Some(5)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
        (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
    ] {
        assert_eq!(header::number(field), expected, "{}", field.escape_ascii());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = entries(&bytes);
    }

    /// The checksum is made right again, so that the fields are reached.
    #[test]
    fn damaged_archives_never_panic(damage in prop::collection::vec((0_usize..3072, any::<u8>()), 1..20), kind in any::<u8>()) {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.size", b"99"), ("mtime", b"1.5")]).unwrap();
        builder.append(&header("s", EntryType::new(kind), 517), &[&b"1\n2\n3\n"[..], &[b'0'; 511]].concat()[..]).unwrap();
        let mut archive = builder.into_inner().unwrap();
        for (at, byte) in damage {
            let len = archive.len();
            archive[at % len] = byte;
        }
        for at in (0..archive.len()).step_by(512) {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&archive[at..at + 512]);
            header.set_cksum();
            if at % 1024 == 0 {
                archive[at..at + 512].copy_from_slice(header.as_bytes());
            }
        }
        let _ = entries(&archive);
    }
}
