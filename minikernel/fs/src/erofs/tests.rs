//! Images made by mkfs.erofs, and what becomes of broken ones.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::inode::{DiskInode, Layout};
use super::*;
use crate::inode::Extent;
use crate::metadata::FileType;
use crate::pages::Bytes;
use crate::vfs::Process;
use crate::{Buffer, FIRST_COOKIE};

/// The image of `directory`.
fn image(directory: &Path, options: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("mkfs.erofs").args(options).arg(file.path()).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(file.path()).unwrap()
}

fn open(bytes: &[u8]) -> core::result::Result<Arc<Erofs>, OpenError> {
    Erofs::open(Arc::new(Bytes::new(bytes)))
}

/// A tree with one of everything.
fn sample() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for size in [0, 1, 100, 4095, 4096, 4097, 8192, 70_000] {
        let bytes: Vec<u8> = (0..size).map(|n| (n / 7 % 251) as u8).collect();
        fs::write(root.join(std::format!("size{size}")), bytes).unwrap();
    }
    fs::create_dir(root.join("many")).unwrap();
    for n in 0..1500 {
        fs::write(root.join(std::format!("many/file-with-a-name-of-some-length-{n}")), n.to_string())
            .unwrap();
    }
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    symlink("a/b", root.join("short")).unwrap();
    symlink("x".repeat(3000), root.join("long")).unwrap();
    fs::hard_link(root.join("size100"), root.join("a/hard")).unwrap();
    fs::set_permissions(root.join("size1"), fs::Permissions::from_mode(0o4711)).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"end", 300_000).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    directory
}

fn read_all(inode: &Arc<dyn Inode>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; inode.metadata().unwrap().size as usize + 10];
    let mut sink = Buffer::new(&mut bytes);
    while inode.read_at(sink.filled() as u64, &mut sink).unwrap() > 0 {}
    let filled = sink.filled();
    bytes.truncate(filled);
    bytes
}

fn list(inode: &Arc<dyn Inode>) -> Vec<(Vec<u8>, u64)> {
    let mut names = Vec::new();
    // One name a call, so that every cookie is tried.
    let mut cookie = FIRST_COOKIE;
    loop {
        let before = names.len();
        inode
            .read_dir(cookie, &mut |entry| {
                if names.len() > before {
                    return false;
                }
                names.push((entry.name.to_vec(), entry.inode));
                cookie = entry.next;
                true
            })
            .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

/// Compares what is below a directory with what it was made from.
fn compare(inode: &Arc<dyn Inode>, path: &Path) {
    let (found, expected) = (inode.metadata().unwrap(), fs::symlink_metadata(path).unwrap());
    assert_eq!(found.st_mode(), expected.mode(), "{path:?}");
    assert_eq!((found.uid, found.gid), (expected.uid(), expected.gid()));
    match found.kind {
        FileType::Directory => {
            let mut expected: Vec<Vec<u8>> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_encoded_bytes())
                .collect();
            expected.sort();
            let names = list(inode);
            assert!(names.iter().map(|(name, _)| name).eq(&expected), "{path:?}");
            for (name, number) in names {
                let child = inode.lookup(&name).unwrap();
                assert_eq!(child.metadata().unwrap().inode, number);
                compare(&child, &path.join(core::str::from_utf8(&name).unwrap()));
            }
            assert!(matches!(inode.lookup(b"!none"), Err(Error::Errno(Errno::ENOENT))));
            assert!(matches!(inode.lookup(b"zzzz"), Err(Error::Errno(Errno::ENOENT))));
        }
        FileType::Regular => {
            assert_eq!((u64::from(found.links), found.size), (expected.nlink(), expected.size()));
            let bytes = fs::read(path).unwrap();
            assert_eq!(read_all(inode), bytes, "{path:?}");
            for (index, chunk) in bytes.chunks(4096).enumerate() {
                let page = inode.page(index as u64).unwrap();
                let mut read = [0; 4096];
                page.read(0, &mut read);
                assert_eq!(&read[..chunk.len()], chunk);
                assert!(read[chunk.len()..].iter().all(|byte| *byte == 0), "zeros follow the end");
            }
            let pages = bytes.len().div_ceil(4096);
            assert!(inode.page(pages as u64).is_err());
            let mut resident = alloc::vec![None; pages + 2];
            inode.resident(0, &mut resident);
            for (index, frame) in resident.iter().enumerate() {
                let Some(frame) = frame else { continue };
                let whole = bytes[index * 4096..].len() >= 4096;
                let page = inode.page(index as u64).unwrap();
                assert!(page.same(frame) || whole && page.read_array::<4096>(0) == frame.read_array(0));
            }
            // What begins at the border of a page in the image is given as it lies there.
            assert!(bytes.len() < 1 << 16 || resident[0].is_some(), "{path:?}");
        }
        FileType::Symlink => {
            let target = fs::read_link(path).unwrap().into_os_string().into_encoded_bytes();
            assert_eq!(inode.read_link(Process::default()).unwrap(), target);
        }
        _ => {}
    }
}

#[test]
fn everything_that_mkfs_writes_is_read() {
    let sample = sample();
    for options in
        [&[][..], &["-Eforce-inode-extended"], &["-Enoinline_data"], &["--chunksize=4096"], &["-T0"]]
    {
        let erofs = open(&image(sample.path(), options)).unwrap();
        compare(&erofs.root(), sample.path());
    }
}

#[test]
fn hard_links_are_one_inode() {
    let sample = sample();
    let root = open(&image(sample.path(), &[])).unwrap().root();
    let (one, other) =
        (root.lookup(b"size100").unwrap(), root.lookup(b"a").unwrap().lookup(b"hard").unwrap());
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn holes_are_found_in_chunks() {
    let sample = sample();
    let mut bytes = image(sample.path(), &["--chunksize=4096"]);
    // mkfs.erofs 1.5 stores zeros. Make holes of all chunks but the first and the last.
    let erofs = open(&bytes).unwrap();
    let disk = DiskInode::read(&erofs.image, erofs.root.lookup(b"sparse").unwrap().metadata().unwrap().inode)
        .unwrap();
    let Layout::Chunks { bits: 12, indexes } = disk.layout else { panic!("{disk:?}") };
    let size = if indexes { 8 } else { 4 };
    let table = (disk.xattrs + disk.xattrs_size).next_multiple_of(size);
    for chunk in 1..300_000 / 4096 {
        let end = (table + (chunk + 1) * size) as usize;
        bytes[end - 4..end].fill(0xff);
    }
    let root = open(&bytes).unwrap().root();
    compare(&root, sample.path());
    let sparse = root.lookup(b"sparse").unwrap();
    assert_eq!(sparse.seek_extent(0, Extent::Data).unwrap(), 0);
    assert_eq!(sparse.seek_extent(0, Extent::Hole).unwrap(), 4096);
    assert_eq!(sparse.seek_extent(4096, Extent::Data).unwrap(), 300_000 / 4096 * 4096);
    assert!(sparse.seek_extent(300_003, Extent::Data).is_err());
}

#[test]
fn extended_attributes_are_read_inline_and_shared() {
    let directory = tempfile::tempdir().unwrap();
    let long = "v".repeat(500);
    for n in 0..5 {
        let path = directory.path().join(n.to_string());
        fs::write(&path, "x").unwrap();
        for (name, value) in
            [("user.shared", "same for all"), ("user.long", &long), ("user.own", &n.to_string())]
        {
            rustix::fs::setxattr(&path, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
        }
    }
    for options in [&["-x2"][..], &["-x100"]] {
        let root = open(&image(directory.path(), options)).unwrap().root();
        for n in 0..5 {
            let file = root.lookup(n.to_string().as_bytes()).unwrap();
            assert_eq!(file.xattr(b"user.shared").unwrap(), b"same for all");
            assert_eq!(file.xattr(b"user.long").unwrap(), long.as_bytes());
            assert_eq!(file.xattr(b"user.own").unwrap(), n.to_string().as_bytes());
            assert!(matches!(file.xattr(b"user.none"), Err(Error::Errno(Errno::ENODATA))));
            let names = file.xattr_names().unwrap();
            let mut names: Vec<_> = names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            assert_eq!(names, [&b"user.long"[..], b"user.own", b"user.shared"]);
        }
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let sample = sample();
    let compressed = image(sample.path(), &["-zlz4"]);
    let text = match open(&compressed) {
        // mkfs marks the image only by the padding; its compressed files are refused one by one.
        Ok(erofs) => {
            let file = erofs.root().lookup(b"size70000");
            assert!(matches!(file, Err(Error::Errno(Errno::EUCLEAN))));
            return;
        }
        Err(error) => error.to_string(),
    };
    assert!(text.contains("compression"), "{text}");
    assert!(matches!(open(&[0; 5000]), Err(OpenError::NotErofs)));
    assert!(matches!(open(&[]), Err(OpenError::NotErofs)));
}

/// Touches everything that can be reached; errors are fine, panics and endless loops are not.
fn touch(inode: &Arc<dyn Inode>, depth: usize, budget: &mut usize) {
    if *budget == 0 {
        return;
    }
    *budget -= 1;
    let Ok(metadata) = inode.metadata() else { return };
    let _ = inode.read_link(Process::default());
    let _ = inode.xattr_names().map(|names| names.len());
    let _ = inode.xattr(b"user.a");
    let mut bytes = [0; 10_000];
    let _ = inode.read_at(0, &mut Buffer::new(&mut bytes));
    let _ = inode.read_at(metadata.size.saturating_sub(5000), &mut Buffer::new(&mut bytes));
    let _ = inode.seek_extent(0, Extent::Hole);
    inode.prefetch(0..u64::MAX);
    if depth == 0 {
        return;
    }
    let mut names = Vec::new();
    let _ = inode.read_dir(FIRST_COOKIE, &mut |entry| {
        names.push(entry.name.to_vec());
        names.len() < 50
    });
    for name in names {
        if let Ok(child) = inode.lookup(&name) {
            touch(&child, depth - 1, budget);
        }
    }
}

fn small_image() -> &'static [u8] {
    static IMAGE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    IMAGE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/small"), "small").unwrap();
        fs::write(root.join("big"), [1; 9000]).unwrap();
        symlink("a/b", root.join("link")).unwrap();
        let sparse = fs::File::create(root.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 30_000).unwrap();
        image(root, &["--chunksize=4096"])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn broken_images_never_panic(
        changes in prop::collection::vec((1024..9000_usize, any::<u8>()), 1..12),
        length in prop::option::of(1000..20_000_usize),
    ) {
        let mut bytes = small_image().to_vec();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(length.unwrap_or(bytes.len()));
        if let Ok(erofs) = open(&bytes) {
            touch(&erofs.root(), 4, &mut 200);
        }
    }
}
