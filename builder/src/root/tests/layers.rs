//! Whiteouts, replacements and tricks.

use tar::EntryType;

use super::*;
use crate::root::{NodeProblem, RootError};

fn paths(layers: &[TestLayer]) -> Vec<String> {
    listing(&merge(layers).unwrap()).into_keys().filter(|path| !path.is_empty()).collect()
}

fn content(tree: &Tree, path: &str) -> String {
    String::from_utf8(tree.read_path(path.as_bytes(), 1000).unwrap().unwrap()).unwrap()
}

#[test]
fn a_whiteout_removes_a_file_and_a_whole_directory() {
    let lower = layer(|tar| {
        dir(tar, "d/");
        file(tar, "d/x", b"");
        dir(tar, "d/e/");
        file(tar, "d/e/y", b"");
        file(tar, "f", b"");
        file(tar, "g", b"");
    });
    let upper = layer(|tar| {
        file(tar, ".wh.d", b"");
        file(tar, ".wh.f", b"");
        file(tar, ".wh.missing", b"");
        file(tar, "not/there/.wh.x", b"");
    });
    assert_eq!(paths(&[lower, upper]), ["/g"]);
}

#[test]
fn a_whiteout_spares_its_own_layer_in_any_order() {
    for whiteout in [".wh.d", "d/.wh..wh..opq"] {
        for first in [true, false] {
            let lower = layer(|tar| {
                dir(tar, "d");
                file(tar, "d/old", b"");
                dir(tar, "d/sub");
                file(tar, "d/sub/old", b"");
            });
            let upper = layer(|tar| {
                if first {
                    file(tar, whiteout, b"");
                }
                dir(tar, "d");
                dir(tar, "d/sub");
                file(tar, "d/sub/new", b"");
                if !first {
                    file(tar, whiteout, b"");
                }
            });
            assert_eq!(paths(&[lower, upper]), ["/d", "/d/sub", "/d/sub/new"], "{whiteout} first: {first}");
        }
    }
}

#[test]
fn a_whiteout_of_one_name_of_a_hard_link_leaves_the_other() {
    let lower = layer(|tar| {
        file(tar, "a", b"data");
        link(tar, EntryType::Link, "b", "a");
    });
    // The new name is this layer's, the old ones are not.
    let upper = layer(|tar| {
        link(tar, EntryType::Link, "c", "b");
        file(tar, ".wh.a", b"");
    });
    let tree = merge(&[lower, upper]).unwrap();
    assert_eq!(content(&tree, "/c"), "data");
    assert_eq!(tree.lookup(b"/b"), tree.lookup(b"/c"));
    assert!(tree.lookup(b"/a").is_err());
    assert_eq!(tree.node(tree.lookup(b"b").unwrap()).names(), 2);
}

#[test]
fn files_and_directories_replace_each_other() {
    let lower = layer(|tar| {
        dir(tar, "d");
        file(tar, "d/x", b"");
        file(tar, "f", b"");
        file(tar, "g", b"");
    });
    let upper = layer(|tar| {
        file(tar, "d", b"now a file");
        dir(tar, "f");
        file(tar, "f/y", b"");
        // Not even an entry for the directory that replaces the file.
        file(tar, "g/z", b"");
    });
    assert_eq!(paths(&[lower, upper]), ["/d", "/f", "/f/y", "/g", "/g/z"]);
}

#[test]
fn a_directory_over_a_directory_changes_its_metadata() {
    let lower = layer(|tar| {
        dir(tar, "d");
        file(tar, "d/x", b"");
    });
    let upper = layer(|tar| {
        let mut header = raw_header(b"d", EntryType::Directory, 0);
        header.set_mode(0o41777);
        header.set_uid(7);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    });
    let tree = merge(&[lower, upper]).unwrap();
    let meta = &tree.node(tree.lookup(b"d").unwrap()).meta;
    assert_eq!((meta.mode, meta.uid), (0o1777, 7));
    assert!(tree.lookup(b"d/x").is_ok());
}

#[test]
fn links_in_a_path_stay_inside_the_root() {
    let lower = layer(|tar| {
        dir(tar, "real");
        link(tar, EntryType::Symlink, "absolute", "/real");
        link(tar, EntryType::Symlink, "climbs", "../../../../real");
        link(tar, EntryType::Symlink, "host", "/../../etc");
        link(tar, EntryType::Symlink, "missing", "not/../there");
        file(tar, "absolute/a", b"");
        file(tar, "climbs/b", b"");
        file(tar, "host/passwd", b"mine");
        file(tar, "missing/c", b"");
    });
    let paths = paths(&[lower]);
    for path in ["/real/a", "/real/b", "/etc/passwd", "/there/c", "/host"] {
        assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
    }
    assert!(!paths.contains(&"/not".to_owned()));
}

#[test]
fn what_cannot_be_is_refused_with_layer_and_entry() {
    let refused = |fill: &dyn Fn(&mut ::tar::Builder<&File>)| {
        let layer = layer(|tar| {
            file(tar, "a", b"");
            dir(tar, "d");
            fill(tar);
        });
        let diff_id = layer.layer.diff_id;
        match merge(&[layer]).unwrap_err() {
            RootError::Entry { layer, entry, problem } => {
                assert_eq!(layer, diff_id);
                (entry, problem)
            }
            other => panic!("{other}"),
        }
    };
    let with = |entry: &str, problem| (entry.to_owned(), problem);
    assert_eq!(refused(&|tar| file(tar, "/etc/x", b"")), with("/etc/x", NodeProblem::Absolute));
    assert_eq!(refused(&|tar| file(tar, "../x", b"")), with("../x", NodeProblem::Climbs));
    assert_eq!(refused(&|tar| file(tar, "d/../../x", b"")), with("d/../../x", NodeProblem::Climbs));
    assert_eq!(refused(&|tar| file(tar, "./", b"")), with("./", NodeProblem::RootNotDirectory));
    let long = "x/".repeat(3000);
    let too_long = |tar: &mut ::tar::Builder<&File>| {
        raw_entry(tar, b"././@LongLink", EntryType::GNULongName, long.as_bytes());
        dir(tar, "x");
    };
    assert_eq!(refused(&too_long), with(&long, NodeProblem::PathTooLong));
    assert_eq!(refused(&|tar| file(tar, "d/.wh.", b"")), with("d/.wh.", NodeProblem::Whiteout));
    assert_eq!(refused(&|tar| file(tar, "d/.wh...", b"")), with("d/.wh...", NodeProblem::Whiteout));
    assert_eq!(
        refused(&|tar| link(tar, EntryType::Link, "l", "no/such")),
        with("l", NodeProblem::LinkMissing("no/such".into()))
    );
    assert_eq!(refused(&|tar| link(tar, EntryType::Link, "l", "../a")), with("l", NodeProblem::Climbs));
    assert_eq!(refused(&|tar| link(tar, EntryType::Link, "l", "d")), with("l", NodeProblem::LinkToDirectory));
    assert_eq!(refused(&|tar| link(tar, EntryType::Symlink, "l", "")), with("l", NodeProblem::LinkTarget));
    let looped = |tar: &mut ::tar::Builder<&File>| {
        link(tar, EntryType::Symlink, "l", "m");
        link(tar, EntryType::Symlink, "m", "l");
        file(tar, "l/x", b"");
    };
    assert_eq!(refused(&looped), with("l/x", NodeProblem::TooManyLinks));
}

#[test]
fn a_flood_of_devices_ends_with_an_error() {
    let flood = layer(|tar| {
        for number in 0..70_000_u32 {
            raw_entry(tar, format!("dev{number}").as_bytes(), EntryType::Char, b"");
        }
    });
    let error = merge(&[flood]).unwrap_err().to_string();
    assert!(error.contains("entry `dev65536`: there are more than 65536 device nodes"), "{error}");
}

#[test]
fn a_deep_path_needs_no_stack() {
    // Every entry begins below a link to the deepest directory so far.
    let deep = layer(|tar| {
        let long = "x/".repeat(45);
        for _ in 0..200 {
            link(tar, EntryType::Symlink, "l", ".");
            dir(tar, &long);
        }
        for _ in 0..2000 {
            dir(tar, &format!("l/{long}"));
        }
    });
    let tree = merge(&[deep]).unwrap();
    image(&tree);
}

#[test]
fn bookkeeping_of_aufs_is_left_out() {
    let layer = layer(|tar| {
        dir(tar, ".wh..wh.plnk");
        file(tar, ".wh..wh.plnk/1.2", b"");
        file(tar, ".wh..wh.aufs", b"");
        file(tar, "a", b"");
    });
    assert_eq!(paths(&[layer]), ["/a"]);
}

#[test]
fn the_root_has_metadata_too() {
    let layer = layer(|tar| {
        let mut header = raw_header(b"./", EntryType::Directory, 0);
        header.set_mode(0o700);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    });
    assert_eq!(merge(&[layer]).unwrap().node(NodeId::ROOT).meta.mode, 0o700);
}
