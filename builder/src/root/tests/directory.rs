//! Directories of the host.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::root::RootError;

#[test]
fn a_directory_becomes_a_tree_with_its_links_and_holes() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("d")).unwrap();
    std::fs::write(path("d/a"), "data").unwrap();
    std::fs::hard_link(path("d/a"), path("b")).unwrap();
    symlink("/etc/passwd", path("outside")).unwrap();
    symlink("/etc", path("d/etc")).unwrap();
    let sparse = File::create(path("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let tree = Tree::from_directory(dir.path()).unwrap();
    assert_eq!(tree.lookup(b"/d/a"), tree.lookup(b"/b"));
    let a = tree.node(tree.lookup(b"b").unwrap());
    let on_disk = std::fs::metadata(path("b")).unwrap();
    assert_eq!((a.names(), a.meta.uid, u32::from(a.meta.mode)), (2, on_disk.uid(), on_disk.mode() & 0o7777));
    assert_eq!(
        (a.meta.mtime.seconds, i64::from(a.meta.mtime.nanos)),
        (on_disk.mtime(), on_disk.mtime_nsec())
    );
    assert_eq!(tree.read_path(b"/b", 3).unwrap(), Some(b"dat".to_vec()));
    // Links lead nowhere else than inside the tree.
    assert_eq!(tree.read_path(b"/outside", 3).unwrap(), None);
    assert!(tree.lookup(b"/d/etc/passwd").is_err());
    assert!(matches!(&tree.node(tree.lookup_nofollow(b"/outside").unwrap()).kind, Kind::Symlink(_)));
    let Kind::File(content) = &tree.node(tree.lookup(b"/sparse").unwrap()).kind else { panic!() };
    assert_eq!((content.len(), content.extents().len()), (1 << 30, 0));
}

#[test]
fn what_is_no_directory_is_refused() {
    for path in ["/nonexistent", "/dev/null"] {
        let error = Tree::from_directory(Path::new(path)).unwrap_err();
        assert!(matches!(&error, RootError::Read { path: at, .. } if at == Path::new(path)), "{error}");
    }
}

#[test]
fn lookups_end_at_the_root() {
    let mut tree = Tree::new();
    let link = |target: &str| Kind::Symlink(target.as_bytes().into());
    let meta = || Meta::with_mode(0o777);
    tree.insert(b"usr/bin/sh", meta(), link("../../../../usr/bin/dash")).unwrap();
    tree.insert(b"usr/bin/dash", meta(), Kind::Fifo).unwrap();
    tree.insert(b"bin", meta(), link("usr/bin")).unwrap();
    tree.insert(b"loop", meta(), link("loop")).unwrap();
    let dash = tree.lookup(b"/usr/bin/dash");
    for path in ["/bin/sh", "bin/sh", "/../bin/./sh", "/usr/../bin//sh"] {
        assert_eq!(tree.lookup(path.as_bytes()), dash, "{path}");
    }
    assert_eq!(tree.lookup(b"/"), Ok(NodeId::ROOT));
    assert_eq!(tree.lookup(b"/usr/bin/"), tree.lookup(b"/bin"));
    assert_eq!(tree.lookup(b"/loop").unwrap_err().to_string(), "too many levels of symbolic links");
    for path in ["/none", "/usr/none/x", "/usr/bin/dash/x", "/usr/bin/dash/"] {
        assert_eq!(
            tree.lookup(path.as_bytes()).unwrap_err().to_string(),
            "no such file or directory",
            "{path}"
        );
    }
}
