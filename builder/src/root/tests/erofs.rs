//! Images read back by `erofs-rs` and checked by `fsck.erofs`.

use std::io::{Read, Write};

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;
use proptest::prelude::*;

use super::*;
use crate::root::{Content, Extent, NodeProblem};

/// What `erofs-rs` finds in an image.
pub(super) fn read_back(image: &NamedTempFile) -> Listing {
    let bytes = std::fs::read(image.path()).unwrap();
    let fs = EroFS::new(SliceImage::new(&bytes)).unwrap();
    let mut lines = Listing::new();
    let mut first_names: HashMap<u64, String> = HashMap::new();
    let root = fs.super_block().root_inode_id();
    let mut todo = vec![(Vec::new(), root)];
    while let Some((path, nid)) = todo.pop() {
        let inode = fs.get_inode(nid).unwrap();
        if inode.is_dir() {
            let mut children = Vec::new();
            for entry in fs.read_dir(typed_path(&path)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.dir_entry.file_name();
                if name != b"." && name != b".." {
                    children.push(([&path, &b"/"[..], name].concat(), entry.dir_entry.nid()));
                }
            }
            assert!(children.is_sorted(), "{}", printable(&path));
            todo.extend(children.into_iter().rev());
        }
        let what = if inode.is_dir() {
            "directory".to_owned()
        } else if inode.is_file() {
            let mut bytes = Vec::new();
            fs.open_inode_file(inode).unwrap().take(1 << 20).read_to_end(&mut bytes).unwrap();
            format!("file {} {}", inode.data_size(), Digest::of(&bytes))
        } else if inode.is_symlink() {
            format!("symlink {}", printable(fs.read_link_inode(inode).unwrap().as_bytes()))
        } else {
            let (major, minor) = inode.device().unwrap_or_default();
            match inode.file_type().as_raw_mode() >> 12 {
                0o1 => "fifo".to_owned(),
                0o2 => format!("char {major}:{minor}"),
                0o6 => format!("block {major}:{minor}"),
                _ => "socket".to_owned(),
            }
        };
        let (seconds, nanos) = inode.modified_unix();
        let xattrs = fs.xattrs_inode(inode).unwrap();
        let meta = Meta {
            mode: (std::os::unix::fs::PermissionsExt::mode(&inode.permissions()) & 0o7777) as u16,
            uid: inode.uid(),
            gid: inode.gid(),
            mtime: Timestamp { seconds, nanos },
            xattrs: xattrs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        };
        let name = printable(&path);
        lines.insert(
            name.clone(),
            describe(&what, &meta, inode.nlink(), first_names.entry(nid).or_insert(name)),
        );
    }
    lines
}

fn typed_path(path: &[u8]) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec([b"/", path].concat())
}

fn fsck(image: &NamedTempFile) {
    run("fsck.erofs", &[image.path().to_str().unwrap()]);
}

fn check(tree: &Tree) {
    let image = image(tree);
    assert_same(&read_back(&image), &listing(tree));
    fsck(&image);
}

fn meta(mode: u16) -> Meta {
    Meta { mtime: Timestamp { seconds: 1_700_000_000, nanos: 5 }, ..Meta::with_mode(mode) }
}

#[test]
fn an_empty_tree_is_an_image() {
    check(&Tree::new());
}

#[test]
fn large_directories_span_blocks() {
    let mut tree = Tree::new();
    for number in 0..5000 {
        let path = format!("big/{number}{}", "x".repeat(number % 200));
        tree.insert(path.as_bytes(), meta(0o644), Kind::File(Content::bytes(path.clone()))).unwrap();
    }
    // Sorted before and behind `.` and `..`.
    for name in ["!", "-", "...", "..a", ".a", "\u{7f}"] {
        tree.insert(format!("big/{name}").as_bytes(), meta(0o644), Kind::directory()).unwrap();
    }
    check(&tree);
}

#[test]
fn link_targets_of_every_length_are_kept() {
    let mut tree = Tree::new();
    for len in [1, 59, 60, 3999, 4031, 4032, 4033, 4063, 4064, 4065, 4095] {
        let target = vec![b't'; len].into_boxed_slice();
        tree.insert(format!("l{len}").as_bytes(), meta(0o777), Kind::Symlink(target)).unwrap();
    }
    check(&tree);
}

#[test]
fn extended_attributes_larger_than_a_block_are_kept() {
    let mut tree = Tree::new();
    for (number, len) in [0, 1, 100, 4000, 4096, 65_535].into_iter().enumerate() {
        let mut meta = meta(0o600);
        meta.xattrs.insert(b"user.a"[..].into(), vec![1; len].into());
        meta.xattrs.insert(b"security.capability"[..].into(), b"\x01\0\0\x02\n"[..].into());
        meta.xattrs.insert(b"trusted.x"[..].into(), b""[..].into());
        meta.xattrs.insert(b"system.posix_acl_access"[..].into(), b"\x02\0\0\0"[..].into());
        tree.insert(format!("d{number}").as_bytes(), meta.clone(), Kind::directory()).unwrap();
        tree.insert(format!("d{number}/f").as_bytes(), meta.clone(), Kind::File(Content::bytes("f")))
            .unwrap();
        tree.insert(format!("d{number}/l").as_bytes(), meta, Kind::Symlink(b"t"[..].into())).unwrap();
    }
    check(&tree);
}

#[test]
fn an_attribute_without_a_place_is_an_error() {
    let mut tree = Tree::new();
    let mut meta = meta(0o600);
    meta.xattrs.insert(b"strange.a"[..].into(), b""[..].into());
    tree.insert(b"dir/f", meta, Kind::Fifo).unwrap();
    let error = write(&tree, &tempfile::tempfile().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "`dir/f`: the extended attribute `strange.a` cannot be stored");
}

#[test]
fn many_sparse_files_together_are_bounded_too() {
    let len = 1 << 40;
    let mut tree = Tree::new();
    let insert = |tree: &mut Tree, number: u32| {
        let ends = [(0, 4096), (len - 5000, 5000)];
        let extents = ends.map(|(logical, len)| Extent { logical, physical: 0, len });
        let file = Content::host_file("sparse".into(), len).with_extents(Some(extents.into()));
        tree.insert(format!("{number}").as_bytes(), meta(0o644), Kind::File(file)).unwrap();
    };
    insert(&mut tree, 0);
    let one = Image::plan(&tree).unwrap().size();
    assert!(one < 16 << 20);
    (1..1 << 10).for_each(|number| insert(&mut tree, number));
    let error = Image::plan(&tree).unwrap_err();
    assert!(matches!(error, RootError::Node { problem: NodeProblem::Scattered(_), .. }), "{error}");
}

#[test]
fn every_kind_of_node_and_extreme_metadata_are_kept() {
    let mut tree = Tree::new();
    let device = |major, minor| Device::new(major, minor).unwrap();
    let nodes = [
        ("c", Kind::CharDevice(device(4095, 1_048_575))),
        ("b", Kind::BlockDevice(device(8, 17))),
        ("p", Kind::Fifo),
        ("s", Kind::Socket),
        ("f", Kind::File(Content::bytes(""))),
    ];
    for (name, kind) in nodes {
        tree.insert(name.as_bytes(), meta(0o7777), kind).unwrap();
    }
    for (number, seconds) in [i64::MIN, -1, 0, i64::MAX].into_iter().enumerate() {
        let mtime = Timestamp { seconds, nanos: 999_999_999 };
        let meta = Meta { uid: u32::MAX, gid: 65_536, mtime, ..meta(0) };
        tree.insert(format!("t{number}").as_bytes(), meta, Kind::Fifo).unwrap();
    }
    check(&tree);
}

#[test]
fn a_sparse_terabyte_costs_almost_nothing() {
    let data = tempfile::tempfile().unwrap();
    (&data).write_all(b"first page..").unwrap();
    (&data).write_all(b"last page").unwrap();
    let len = 1 << 40;
    let extents =
        [Extent { logical: 5000, physical: 0, len: 12 }, Extent { logical: len - 9, physical: 12, len: 9 }];
    let content = Content::slice(data.into(), 0, len).with_extents(Some(extents.into()));
    let mut tree = Tree::new();
    tree.insert(b"sparse", meta(0o644), Kind::File(content)).unwrap();
    tree.insert(b"hole", meta(0o644), Kind::File(Content::bytes("").with_extents(None))).unwrap();
    let image = image(&tree);
    assert!(image.as_file().metadata().unwrap().len() < 16 << 20);
    fsck(&image);
    let bytes = std::fs::read(image.path()).unwrap();
    let fs = EroFS::new(SliceImage::new(&bytes)).unwrap();
    let file = fs.open("/sparse").unwrap();
    let read = |at, len| {
        let mut buffer = vec![1; len];
        let got = file.read_at(&mut buffer, at).unwrap();
        buffer.truncate(got);
        buffer
    };
    assert_eq!(file.size(), len);
    assert_eq!(read(5000, 14), b"first page..\0\0");
    assert_eq!(read(len - 10, 10), b"\0last page");
    assert_eq!(read(1 << 39, 10), [0; 10]);
}

#[test]
fn file_data_begins_at_blocks_behind_all_metadata() {
    let mut tree = Tree::new();
    for number in 0..100 {
        let data = vec![number; 5000];
        tree.insert(&[b'f', number + 100], meta(0o644), Kind::File(Content::bytes(data))).unwrap();
    }
    let image = NamedTempFile::new().unwrap();
    let stats = write(&tree, image.as_file()).unwrap();
    let bytes = std::fs::read(image.path()).unwrap();
    let data = &bytes[stats.metadata_bytes as usize..];
    assert_eq!(data.len(), 100 * 8192);
    for (number, file) in data.chunks(8192).enumerate() {
        assert!(file[..5000].iter().all(|&byte| usize::from(byte) == number));
        assert!(file[5000..].iter().all(|&byte| byte == 0));
    }
    assert_eq!(stats.inodes, 101);
}

#[test]
fn contents_that_vanish_are_named() {
    let mut tree = Tree::new();
    let gone = Content::host_file("/nonexistent/file".into(), 10);
    tree.insert(b"a/b/c", meta(0o644), Kind::File(gone)).unwrap();
    let error = write(&tree, &tempfile::tempfile().unwrap()).unwrap_err();
    assert!(error.to_string().contains("`a/b/c`"), "{error}");
}

/// One thing to put into a tree.
#[derive(Debug, Clone)]
struct Plant {
    path: Vec<u8>,
    meta: Meta,
    kind: PlantKind,
}

#[derive(Debug, Clone)]
enum PlantKind {
    Directory,
    File(usize),
    Sparse(u64, Vec<(u32, u32)>),
    Symlink(Vec<u8>),
    Device(u64, u64),
    Link(prop::sample::Index),
}

fn plant() -> impl Strategy<Value = Plant> {
    let name = prop::collection::vec(any::<u8>().prop_filter("", |&b| b != 0 && b != b'/'), 1..30)
        .prop_filter("", |name| name != b"." && name != b"..");
    let path = prop::collection::vec(prop_oneof![Just(b"a".to_vec()), Just(b"b".to_vec()), name], 1..4);
    let xattrs =
        prop::collection::btree_map("user\\.[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..50), 0..3);
    let meta = (0_u16..0o10000, any::<(u32, u32)>(), prop_oneof![Just(1_i64), any::<i64>()], xattrs)
        .prop_map(|(mode, (uid, gid), seconds, xattrs)| {
            let boxed = |(name, value): (String, Vec<u8>)| (name.into_bytes().into(), value.into());
            let mtime = Timestamp { seconds, nanos: 0 };
            Meta {
                mode,
                uid: uid % 70_000,
                gid: gid % 70_000,
                mtime,
                xattrs: xattrs.into_iter().map(boxed).collect(),
            }
        });
    let kind = prop_oneof![
        Just(PlantKind::Directory),
        (0_usize..20_000).prop_map(PlantKind::File),
        (0_u64..900_000, prop::collection::vec((1_u32..200_000, 1_u32..9000), 0..5))
            .prop_map(|(tail, data)| PlantKind::Sparse(tail, data)),
        prop::collection::vec(1_u8.., 1..4095).prop_map(PlantKind::Symlink),
        (0_u64..4096, 0_u64..1 << 20).prop_map(|(major, minor)| PlantKind::Device(major, minor)),
        any::<prop::sample::Index>().prop_map(PlantKind::Link),
    ];
    (path, meta, kind).prop_map(|(path, meta, kind)| Plant { path: path.join(&b'/'), meta, kind })
}

fn grow(plants: Vec<Plant>) -> Tree {
    let mut tree = Tree::new();
    let mut names: Vec<Vec<u8>> = Vec::new();
    for Plant { path, meta, kind } in plants {
        let kind = match kind {
            PlantKind::Directory => Kind::directory(),
            PlantKind::File(len) => Kind::File(Content::bytes(pattern(len))),
            PlantKind::Sparse(tail, data) => {
                let (mut logical, mut physical) = (0, 0);
                let mut extents = Vec::new();
                for (gap, len) in data {
                    logical += u64::from(gap);
                    extents.push(Extent { logical, physical, len: len.into() });
                    logical += u64::from(len);
                    physical += u64::from(len);
                }
                let file = tempfile::tempfile().unwrap();
                (&file).write_all(&pattern(physical as usize)).unwrap();
                Kind::File(
                    Content::slice(file.into(), 0, logical + tail + 1).with_extents(Some(extents.into())),
                )
            }
            PlantKind::Symlink(target) => Kind::Symlink(target.into()),
            PlantKind::Device(major, minor) => Kind::CharDevice(Device::new(major, minor).unwrap()),
            PlantKind::Link(index) => {
                let old =
                    names.get(index.index(names.len().max(1))).and_then(|old| tree.lookup_nofollow(old).ok());
                if let Some(old) = old
                    && tree.node(old).as_directory().is_none()
                {
                    let name = format!("link{}", names.len());
                    tree.link(NodeId::ROOT, name.as_bytes(), old).unwrap();
                }
                continue;
            }
        };
        // A link on the way may point to itself.
        if tree.insert(&path, meta, kind).is_ok() {
            names.push(path);
        }
    }
    tree
}

/// Bytes that differ from block to block.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 7 + index / 4096) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_trees_round_trip(plants in prop::collection::vec(plant(), 0..60)) {
        let tree = grow(plants.clone());
        let image = image(&tree);
        assert_same(&read_back(&image), &listing(&tree));
        fsck(&image);
        let again = super::image(&grow(plants));
        prop_assert_eq!(Digest::of(&std::fs::read(image.path()).unwrap()), Digest::of(&std::fs::read(again.path()).unwrap()));
    }
}
