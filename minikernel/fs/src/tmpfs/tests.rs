//! Contents in memory, and a layer of changes over files that do not change.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use isopod_hal::sync::SpinLock;

use super::*;
use crate::inode_state::{MappingObserver, PageLoss};
use crate::metadata::{FileType, Metadata, RenameFlags, Seals, SetAttributes, XattrFlags};
use crate::vfs::Process;
use crate::{AllocateMode, Buffer, Bytes, Errno, Error, Extent, FIRST_COOKIE};

const PAGE: usize = isopod_hal::PAGE_SIZE;

fn small() -> Options {
    Options { pages: 100, inodes: 100, mode: 0o755, ..Options::default() }
}

fn file() -> NewNode<'static> {
    NewNode { kind: NodeKind::Regular, mode: 0o644, uid: 0, gid: 0 }
}

fn directory() -> NewNode<'static> {
    NewNode { kind: NodeKind::Directory, ..file() }
}

fn write(inode: &Arc<dyn Inode>, offset: u64, bytes: &[u8]) -> Result<usize> {
    inode.write_at(offset, &mut Bytes::new(bytes))
}

fn read(inode: &Arc<dyn Inode>) -> Vec<u8> {
    let mut bytes = alloc::vec![0xaa; inode.metadata().unwrap().size as usize + 1];
    let mut sink = Buffer::new(&mut bytes);
    while inode.read_at(sink.filled() as u64, &mut sink).unwrap() > 0 {}
    let filled = sink.filled();
    bytes.truncate(filled);
    bytes
}

fn list(inode: &Arc<dyn Inode>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    inode
        .read_dir(FIRST_COOKIE, &mut |entry| {
            names.push(entry.name.to_vec());
            true
        })
        .unwrap();
    names.sort();
    names
}

#[track_caller]
fn fails<T: core::fmt::Debug>(result: Result<T>, errno: Errno) {
    match result {
        Err(Error::Errno(found)) => assert_eq!(found, errno),
        other => panic!("{errno} expected, not {other:?}"),
    }
}

/// Notes which pages it must let go of.
#[derive(Default)]
struct Observer(SpinLock<Vec<Range<u64>>>);

impl MappingObserver for Observer {
    fn id(&self) -> u64 {
        1
    }

    fn invalidate(&self, pages: Range<u64>, _loss: PageLoss) {
        self.0.lock().push(pages);
    }

    fn may_write(&self) -> bool {
        true
    }
}

#[test]
fn holes_take_no_room_and_read_as_zeros() {
    let tmpfs = Tmpfs::new(&small()).unwrap();
    let inode = tmpfs.root().create(b"f", &file()).unwrap();
    write(&inode, 10 * PAGE as u64 + 5, b"end").unwrap();
    let metadata = inode.metadata().unwrap();
    assert_eq!((metadata.size, metadata.blocks), (10 * PAGE as u64 + 8, 8));
    assert_eq!(inode.seek_extent(0, Extent::Data).unwrap(), 10 * PAGE as u64);
    assert_eq!(inode.seek_extent(0, Extent::Hole).unwrap(), 0);
    assert_eq!(inode.seek_extent(10 * PAGE as u64 + 6, Extent::Hole).unwrap(), metadata.size);
    fails(inode.seek_extent(metadata.size, Extent::Data), Errno::ENXIO);
    let bytes = read(&inode);
    assert!(bytes[..10 * PAGE + 5].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[10 * PAGE + 5..], b"end");
    inode.allocate(AllocateMode::Reserve, 0..20 * PAGE as u64).unwrap();
    assert_eq!(inode.metadata().unwrap().blocks, 20 * 8);
    inode.allocate(AllocateMode::PunchHole, 100..5 * PAGE as u64 + 100).unwrap();
    assert_eq!(inode.metadata().unwrap().blocks, 16 * 8);
    fails(inode.allocate(AllocateMode::Reserve, 0..200 * PAGE as u64), Errno::ENOSPC);
    assert_eq!(inode.metadata().unwrap().blocks, 16 * 8, "all or none");
    inode.truncate(0).unwrap();
    assert_eq!(tmpfs.statistics().unwrap().blocks_free, 100);
}

#[test]
fn what_is_cut_off_does_not_come_back() {
    let tmpfs = Tmpfs::new(&small()).unwrap();
    let inode = tmpfs.root().create(b"f", &file()).unwrap();
    write(&inode, 0, &[7; 2 * PAGE]).unwrap();
    inode.truncate(10).unwrap();
    // A mapping can write after the end of the file.
    inode.page_for_write(0).unwrap().write(100, b"stale");
    inode.truncate(2 * PAGE as u64).unwrap();
    let bytes = read(&inode);
    assert!(bytes[..10].iter().all(|byte| *byte == 7) && bytes[10..].iter().all(|byte| *byte == 0));
    inode.truncate(10).unwrap();
    inode.page_for_write(0).unwrap().write(100, b"stale");
    write(&inode, 200, b"x").unwrap();
    assert!(read(&inode)[10..200].iter().all(|byte| *byte == 0));
    fails(inode.page(1), Errno::ENXIO);
}

#[test]
fn limits_of_pages_and_inodes_are_kept() {
    let tmpfs = Tmpfs::new(&Options { pages: 3, inodes: 3, mode: 0o755, ..Options::default() }).unwrap();
    let root = tmpfs.root();
    let inode = root.create(b"f", &file()).unwrap();
    assert_eq!(write(&inode, 0, &[1; 4 * PAGE]).unwrap(), 3 * PAGE);
    fails(write(&inode, 3 * PAGE as u64, b"x"), Errno::ENOSPC);
    root.create(b"g", &file()).unwrap();
    fails(root.create(b"h", &file()), Errno::ENOSPC);
    root.unlink(b"f").unwrap();
    fails(root.create(b"h", &file()), Errno::ENOSPC);
    drop(inode);
    root.create(b"h", &file()).unwrap();
    assert_eq!(tmpfs.statistics().unwrap().blocks_free, 3);
}

#[test]
fn listings_neither_repeat_nor_skip_while_names_come_and_go() {
    let tmpfs = Tmpfs::new(&small()).unwrap();
    let root = tmpfs.root();
    for n in 0..10 {
        root.create(n.to_string().as_bytes(), &file()).unwrap();
    }
    let mut cookie = FIRST_COOKIE;
    let mut names = Vec::new();
    root.read_dir(cookie, &mut |entry| {
        if names.len() == 4 {
            return false;
        }
        names.push(entry.name.to_vec());
        cookie = entry.next;
        true
    })
    .unwrap();
    root.unlink(b"2").unwrap();
    root.unlink(b"6").unwrap();
    root.create(b"new", &file()).unwrap();
    root.read_dir(cookie, &mut |entry| {
        names.push(entry.name.to_vec());
        true
    })
    .unwrap();
    assert_eq!(names, [&b"0"[..], b"1", b"2", b"3", b"4", b"5", b"7", b"8", b"9", b"new"]);
}

#[test]
fn a_deep_tree_is_freed_without_recursion() {
    let tmpfs =
        Tmpfs::new(&Options { pages: 1, inodes: 200_000, mode: 0o755, ..Options::default() }).unwrap();
    let mut inode = tmpfs.root();
    for _ in 0..100_000 {
        inode = inode.create(b"d", &directory()).unwrap();
    }
    drop(inode);
    drop(tmpfs);
}

#[test]
fn seals_forbid_for_good() {
    let tmpfs = Tmpfs::new(&small()).unwrap();
    fails(tmpfs.memory_file(0o777, 0, 0, false).unwrap().add_seals(Seals::GROW), Errno::EPERM);
    let inode = tmpfs.memory_file(0o777, 0, 0, true).unwrap();
    write(&inode, 0, b"hello").unwrap();
    inode.add_seals(Seals::SHRINK).unwrap();
    fails(inode.truncate(1), Errno::EPERM);
    inode.truncate(10).unwrap();
    inode.add_seals(Seals::GROW).unwrap();
    fails(inode.truncate(11), Errno::EPERM);
    fails(write(&inode, 9, b"xy"), Errno::EPERM);
    write(&inode, 9, b"x").unwrap();
    inode.add_seals(Seals::WRITE | Seals::SEAL).unwrap();
    fails(write(&inode, 0, b"x"), Errno::EPERM);
    fails(inode.page_for_write(0), Errno::EPERM);
    fails(inode.add_seals(Seals::WRITE), Errno::EPERM);
    assert_eq!(inode.seals().unwrap(), Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::SEAL);
    assert_eq!(read(&inode), b"hello\0\0\0\0x");
}

/// A lower file system with one of everything, and an overlay over it.
fn layers() -> (Arc<dyn FileSystem>, Arc<Tmpfs>) {
    let lower = Tmpfs::new(&small()).unwrap();
    let root = lower.root();
    let data = root.create(b"data", &file()).unwrap();
    write(&data, 0, &[1; 3 * PAGE]).unwrap();
    data.set_xattr(b"user.a", b"lower", XattrFlags::empty()).unwrap();
    root.link(b"hard", &data).unwrap();
    let inner = root.create(b"dir", &directory()).unwrap();
    write(&inner.create(b"f", &file()).unwrap(), 0, b"f").unwrap();
    inner.create(b"sub", &directory()).unwrap();
    root.create(b"link", &NewNode { kind: NodeKind::Symlink(b"data"), ..file() }).unwrap();
    let lower: Arc<dyn FileSystem> = lower;
    let upper = overlay(&lower, &small()).unwrap();
    (lower, upper)
}

/// What must stay the same when a file is changed for the first time.
fn identity(metadata: &Metadata) -> (crate::DeviceId, u64, FileType) {
    (metadata.device, metadata.inode, metadata.kind)
}

#[test]
fn the_lower_files_shine_through_and_never_change() {
    let (lower, upper) = layers();
    let before = list(&lower.root());
    let root = upper.root();
    assert_eq!(list(&root), before);
    assert_eq!(upper.statistics().unwrap().inodes_free, 100);
    let data = root.lookup(b"data").unwrap();
    let identity_before = identity(&data.metadata().unwrap());
    write(&data, 5, b"upper").unwrap();
    data.set_attributes(&SetAttributes { mode: Some(0o600), ..SetAttributes::default() }).unwrap();
    data.set_xattr(b"user.b", b"upper", XattrFlags::empty()).unwrap();
    assert_eq!(identity(&data.metadata().unwrap()), identity_before);
    assert_eq!(data.xattr_names().unwrap(), b"user.a\0user.b\0");
    assert_eq!(&read(&data)[..11], b"\x01\x01\x01\x01\x01upper\x01");
    root.unlink(b"link").unwrap();
    root.create(b"new", &file()).unwrap();
    drop(data);
    // The change is kept though nobody refers to the inode any more.
    let data = root.lookup(b"data").unwrap();
    assert_eq!(data.metadata().unwrap().mode, 0o600);
    assert_eq!(&read(&data)[5..10], b"upper");
    assert_eq!(list(&root), [&b"data"[..], b"dir", b"hard", b"new"]);
    let below = lower.root().lookup(b"data").unwrap();
    assert_eq!(read(&below), [1; 3 * PAGE]);
    assert_eq!((below.metadata().unwrap().mode, below.xattr_names().unwrap()), (0o644, b"user.a\0".to_vec()));
    assert_eq!(list(&lower.root()), before);
}

#[test]
fn pages_are_shared_with_the_lower_file_until_they_are_written() {
    let (lower, upper) = layers();
    let (below, data) = (lower.root().lookup(b"data").unwrap(), upper.root().lookup(b"data").unwrap());
    let observer = Arc::new(Observer::default());
    let _registered = data.state().observe(1, || observer.clone()).unwrap();
    write(&data, PAGE as u64 + 1, b"x").unwrap();
    assert!(data.page(0).unwrap().same(&below.page(0).unwrap()));
    assert!(!data.page(1).unwrap().same(&below.page(1).unwrap()));
    assert_eq!(*observer.0.lock(), core::slice::from_ref(&(1..2)));
    assert_eq!(upper.statistics().unwrap().blocks_free, 99);
    assert_eq!(data.metadata().unwrap().blocks, 3 * 8);
    let page = data.page_for_write(2).unwrap();
    page.write(0, b"mapped");
    assert_eq!(&read(&data)[2 * PAGE..2 * PAGE + 7], b"mapped\x01");
    data.allocate(AllocateMode::PunchHole, 0..PAGE as u64 + 1).unwrap();
    let bytes = read(&data);
    assert!(bytes[..=PAGE].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[PAGE + 1..PAGE + 3], b"x\x01");
    assert_eq!(data.seek_extent(0, Extent::Data).unwrap(), PAGE as u64);
    data.truncate(10).unwrap();
    data.truncate(3 * PAGE as u64).unwrap();
    assert!(read(&data).iter().all(|byte| *byte == 0));
    assert_eq!(read(&below), [1; 3 * PAGE]);
}

/// A lower file system whose only file says that it is as large as a file can be.
#[derive(Debug, Default)]
struct Endless(crate::InodeState);

impl Endless {
    const SIZE: u64 = (1 << 63) - PAGE as u64;
}

impl Inode for Endless {
    fn metadata(&self) -> Result<Metadata> {
        let about = crate::DetachedInode::new(FileType::Regular, 0o644, 0, 0).metadata()?;
        Ok(Metadata { inode: 1, size: Self::SIZE, ..about })
    }

    fn state(&self) -> &crate::InodeState {
        &self.0
    }

    fn page(&self, _: u64) -> Result<isopod_hal::frame::Frame> {
        Ok(isopod_hal::frame::Frame::zeroed()?)
    }
}

impl FileSystem for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(Self::default())
    }

    fn statistics(&self) -> Result<Statistics> {
        Ok(Statistics::default())
    }
}

#[test]
fn a_lower_file_of_any_size_is_never_walked() {
    const FAR: u64 = 1 << 60;
    let lower: Arc<dyn FileSystem> = Arc::new(Endless::default());
    let root = overlay(&lower, &small()).unwrap().root();
    let end = Endless::SIZE;
    assert_eq!(root.seek_extent(FAR, Extent::Data).unwrap(), FAR);
    assert_eq!(root.seek_extent(5, Extent::Hole).unwrap(), end);
    root.allocate(AllocateMode::ReserveKeepSize, 0..end).unwrap();
    write(&root, FAR, b"own").unwrap();
    root.allocate(AllocateMode::PunchHole, PAGE as u64..FAR).unwrap();
    assert_eq!(root.seek_extent(7, Extent::Hole).unwrap(), PAGE as u64);
    assert_eq!(root.seek_extent(PAGE as u64, Extent::Data).unwrap(), FAR);
    fails(root.allocate(AllocateMode::ReserveKeepSize, 0..end), Errno::ENOSPC);
    root.allocate(AllocateMode::PunchHole, 0..end).unwrap();
    fails(root.seek_extent(0, Extent::Data), Errno::ENXIO);
    assert_eq!(root.metadata().unwrap().blocks, 0);
    root.truncate(3).unwrap();
    assert_eq!(read(&root), [0; 3]);
}

proptest::proptest! {
    /// Against an array of pages: what is data, what is a hole, and how many there are of each.
    #[test]
    fn extents_are_those_of_an_array_of_pages(
        operations in proptest::collection::vec((0u64..12, 1u64..6, 0u8..4), 1..40)
    ) {
        let lower: Arc<dyn FileSystem> = Arc::new(Endless::default());
        let root = overlay(&lower, &small()).unwrap().root();
        let bytes = |pages: u64| pages * PAGE as u64;
        root.truncate(bytes(8)).unwrap();
        root.truncate(bytes(20)).unwrap();
        let mut model = [true; 20];
        model[8..].fill(false);
        for (start, length, kind) in operations {
            let (range, pages) = (bytes(start)..bytes(start + length), start as usize..(start + length) as usize);
            match kind {
                0 => { write(&root, range.start, &[1]).unwrap(); model[start as usize] = true; }
                1 => { root.allocate(AllocateMode::Reserve, range).unwrap(); model[pages].fill(true); }
                2 => { root.allocate(AllocateMode::PunchHole, range).unwrap(); model[pages].fill(false); }
                _ => {
                    root.truncate(range.start).unwrap();
                    root.truncate(bytes(20)).unwrap();
                    model[start as usize..].fill(false);
                }
            }
            let blocks = model.iter().filter(|data| **data).count() as u64 * 8;
            proptest::prop_assert_eq!(root.metadata().unwrap().blocks, blocks);
            for from in 0..20 {
                for (extent, wanted) in [(Extent::Data, true), (Extent::Hole, false)] {
                    let next = (from..20).find(|page| model[*page] == wanted).or((!wanted).then_some(20));
                    let found = root.seek_extent(bytes(from as u64), extent).ok();
                    proptest::prop_assert_eq!(found, next.map(|page| bytes(page as u64)));
                }
            }
        }
    }

    /// Against a vector: every byte that is read, over a lower file whose pages shine through, and in pages that are mapped.
    #[test]
    fn contents_are_those_of_a_vector(
        operations in proptest::collection::vec((0u64..40_000, 1u64..9_000, 0u8..6, proptest::prelude::any::<u8>()), 1..30)
    ) {
        let lower = Tmpfs::new(&small()).unwrap();
        let below = lower.root().create(b"file", &file()).unwrap();
        let mut model: Vec<u8> = (0..20_000_u32).map(|at| (at / 7) as u8).collect();
        write(&below, 0, &model).unwrap();
        let before = model.clone();
        let lower: Arc<dyn FileSystem> = lower;
        let upper = overlay(&lower, &small()).unwrap().root().lookup(b"file").unwrap();
        for (start, length, kind, value) in operations {
            let end = start + length;
            let known = model.len() as u64;
            match kind {
                0 | 1 => {
                    write(&upper, start, &alloc::vec![value; length as usize]).unwrap();
                    model.resize(known.max(end) as usize, 0);
                    model[start as usize..end as usize].fill(value);
                }
                2 => {
                    upper.allocate(AllocateMode::PunchHole, start..end).unwrap();
                    let hole = start.min(known) as usize..end.min(known) as usize;
                    model[hole].fill(0);
                }
                3 => {
                    upper.truncate(start).unwrap();
                    model.resize(start as usize, 0);
                }
                4 => {
                    upper.allocate(AllocateMode::Reserve, start..end).unwrap();
                    model.resize(known.max(end) as usize, 0);
                }
                _ => upper.allocate(AllocateMode::ReserveKeepSize, start..end).unwrap(),
            }
            proptest::prop_assert_eq!(&read(&upper), &model);
            let mut resident = [const { None }; 16];
            let (first, room) = (start / PAGE as u64, upper.metadata().unwrap().blocks);
            upper.resident(first, &mut resident);
            proptest::prop_assert_eq!(upper.metadata().unwrap().blocks, room, "holes stay holes");
            for (index, frame) in (first..).zip(&resident) {
                let page = upper.page(index).ok();
                let same = frame.as_ref().is_none_or(|frame| page.is_some_and(|page| page.same(frame)));
                proptest::prop_assert!(same, "page {index}");
            }
            for (index, chunk) in model.chunks(PAGE).enumerate() {
                let mut page = [0xaa; PAGE];
                upper.page(index as u64).unwrap().read(0, &mut page);
                proptest::prop_assert_eq!(&page[..chunk.len()], chunk);
                proptest::prop_assert!(page[chunk.len()..].iter().all(|byte| *byte == 0), "zeros follow the end");
            }
        }
        proptest::prop_assert_eq!(read(&below), before);
    }
}

#[test]
fn a_lower_file_that_is_cut_and_extended_shows_zeros() {
    let (_lower, upper) = layers();
    let data = upper.root().lookup(b"data").unwrap();
    data.truncate(PAGE as u64 + 7).unwrap();
    write(&data, 4 * PAGE as u64, b"end").unwrap();
    let bytes = read(&data);
    assert!(bytes[..PAGE + 7].iter().all(|byte| *byte == 1));
    assert!(bytes[PAGE + 7..4 * PAGE].iter().all(|byte| *byte == 0));
}

#[test]
fn all_names_of_a_lower_file_lead_to_the_changed_one() {
    let (_lower, upper) = layers();
    let root = upper.root();
    write(&root.lookup(b"data").unwrap(), 0, b"changed").unwrap();
    let hard = root.lookup(b"hard").unwrap();
    assert_eq!(&read(&hard)[..7], b"changed");
    assert_eq!(hard.metadata().unwrap().links, 2);
    root.unlink(b"data").unwrap();
    assert_eq!(hard.metadata().unwrap().links, 1);
    root.unlink(b"hard").unwrap();
    assert_eq!(hard.metadata().unwrap().links, 0);
    assert_eq!(&read(&hard)[..7], b"changed", "open files live on");
    write(&hard, 0, b"unseen").unwrap();
    assert_eq!(list(&root), [&b"dir"[..], b"link"]);
}

#[test]
fn lower_directories_move_with_what_is_in_them() {
    let (lower, upper) = layers();
    let root = upper.root();
    let other = root.create(b"other", &directory()).unwrap();
    let number = root.lookup(b"dir").unwrap().metadata().unwrap().inode;
    root.rename(b"dir", &other, b"moved", RenameFlags::empty()).unwrap();
    fails(root.lookup(b"dir"), Errno::ENOENT);
    let moved = other.lookup(b"moved").unwrap();
    assert_eq!(moved.metadata().unwrap().inode, number);
    assert_eq!(read(&moved.lookup(b"f").unwrap()), b"f");
    assert_eq!(list(&moved), [&b"f"[..], b"sub"]);
    root.create(b"dir", &directory()).unwrap();
    assert_eq!(
        list(&root.lookup(b"dir").unwrap()),
        Vec::<Vec<u8>>::new(),
        "a new directory hides the old one"
    );
    assert_eq!(root.metadata().unwrap().links, 4);
    fails(other.rmdir(b"moved"), Errno::ENOTEMPTY);
    moved.unlink(b"f").unwrap();
    moved.rmdir(b"sub").unwrap();
    other.rmdir(b"moved").unwrap();
    assert_eq!(list(&lower.root().lookup(b"dir").unwrap()), [&b"f"[..], b"sub"]);
}

#[test]
fn a_removed_name_can_be_used_again() {
    let (_lower, upper) = layers();
    let root = upper.root();
    root.unlink(b"data").unwrap();
    fails(root.lookup(b"data"), Errno::ENOENT);
    let fresh = root.create(b"data", &file()).unwrap();
    assert_eq!(read(&fresh), b"");
    assert_ne!(fresh.metadata().unwrap().inode, root.lookup(b"hard").unwrap().metadata().unwrap().inode);
    root.unlink(b"data").unwrap();
    fails(root.lookup(b"data"), Errno::ENOENT);
    root.rename(b"hard", &root.clone(), b"data", RenameFlags::empty()).unwrap();
    assert_eq!(read(&root.lookup(b"data").unwrap()), [1; 3 * PAGE]);
    root.rename(b"data", &root.clone(), b"dir", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(list(&root.lookup(b"data").unwrap()), [&b"f"[..], b"sub"]);
    assert_eq!(list(&root), [&b"data"[..], b"dir", b"link"]);
    assert_eq!(root.lookup(b"link").unwrap().read_link(Process::default()).unwrap(), b"data");
}
