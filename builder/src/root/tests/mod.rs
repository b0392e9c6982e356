//! Trees compared with what others make of the same input: `umoci`, Linux, `fsck.erofs` and `erofs-rs`.

mod directory;
mod erofs;
mod layers;
mod linux;
mod umoci;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::process::Command;

use tempfile::{NamedTempFile, TempDir};

use super::erofs::{Image, Stats};
use super::{Device, Kind, Meta, NodeId, RootError, Timestamp, Tree, printable};
use crate::source::Layer;
use crate::store::Digest;

/// A tree as text, one line for each path: all that a user can see of it.
type Listing = BTreeMap<String, String>;

fn listing(tree: &Tree) -> Listing {
    let mut lines = Listing::new();
    let mut first_names: HashMap<NodeId, String> = HashMap::new();
    let mut todo = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        if let Kind::Directory(directory) = &node.kind {
            // The smallest path comes first, so that hard links are named after it.
            let children: Vec<_> =
                directory.entries().map(|(name, id)| ([&path, &b"/"[..], name].concat(), id)).collect();
            todo.extend(children.into_iter().rev());
        }
        let name = printable(&path);
        let what = match &node.kind {
            Kind::Directory(_) => "directory".to_owned(),
            Kind::File(content) => {
                let bytes = content.read(1 << 20).unwrap();
                format!("file {} {}", content.len(), Digest::of(&bytes))
            }
            Kind::Symlink(target) => format!("symlink {}", printable(target)),
            Kind::CharDevice(device) => format!("char {}:{}", device.major, device.minor),
            Kind::BlockDevice(device) => format!("block {}:{}", device.major, device.minor),
            Kind::Fifo => "fifo".to_owned(),
            Kind::Socket => "socket".to_owned(),
        };
        lines.insert(
            name.clone(),
            describe(&what, &node.meta, node.names(), first_names.entry(id).or_insert(name)),
        );
    }
    lines
}

fn describe(what: &str, meta: &Meta, links: u32, first_name: &str) -> String {
    let Meta { mode, uid, gid, mtime, xattrs } = meta;
    // Linux has no permissions on symbolic links.
    let mode = if what.starts_with("symlink") { 0o777 } else { *mode };
    let xattrs: Vec<_> =
        xattrs.iter().map(|(name, value)| format!("{}={}", printable(name), value.escape_ascii())).collect();
    let links =
        if what == "directory" { String::new() } else { format!(" {links} links, first {first_name}") };
    format!("{what} {mode:o} {uid}:{gid} {}.{:09} {xattrs:?}{links}", mtime.seconds, mtime.nanos)
}

/// What a failing comparison prints: only the lines that differ.
fn assert_same(ours: &Listing, theirs: &Listing) {
    let paths = ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>();
    let differ = |path: &&&String| ours.get(**path) != theirs.get(**path);
    let lines: Vec<_> = paths
        .iter()
        .filter(differ)
        .take(20)
        .map(|path| format!("{path}\n  ours   {:?}\n  theirs {:?}", ours.get(*path), theirs.get(*path)))
        .collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

fn write(tree: &Tree, out: &File) -> Result<Stats, RootError> {
    Image::plan(tree).and_then(|image| image.write(out))
}

/// The image of a tree.
fn image(tree: &Tree) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let stats = write(tree, file.as_file()).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), stats.bytes);
    file
}

/// A layer whose tar `fill` makes.
struct TestLayer {
    file: NamedTempFile,
    layer: Layer,
}

fn layer(fill: impl FnOnce(&mut ::tar::Builder<&File>)) -> TestLayer {
    let file = NamedTempFile::new().unwrap();
    let mut builder = ::tar::Builder::new(file.as_file());
    fill(&mut builder);
    builder.into_inner().unwrap();
    from_tar(file)
}

fn from_tar(file: NamedTempFile) -> TestLayer {
    let diff_id = Digest::of(&std::fs::read(file.path()).unwrap());
    let layer = Layer { diff_id, tar: file.path().to_path_buf() };
    TestLayer { file, layer }
}

fn merge(layers: &[TestLayer]) -> Result<Tree, super::RootError> {
    let layers: Vec<_> = layers.iter().map(|layer| layer.layer.clone()).collect();
    Tree::from_layers(&layers)
}

/// Runs a program that must succeed and returns what it wrote. The programs are those that `cargo xtask setup` installs.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output
        .unwrap_or_else(|error| panic!("{program} (is it installed? see `cargo xtask setup`): {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// A header with a name of any form, which `tar::Builder` would refuse or change.
fn raw_header(name: &[u8], kind: ::tar::EntryType, size: u64) -> ::tar::Header {
    let mut header = ::tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_cksum();
    header
}

/// Appends an entry as it stands.
fn raw_entry(builder: &mut ::tar::Builder<&File>, name: &[u8], kind: ::tar::EntryType, data: &[u8]) {
    let header = raw_header(name, kind, data.len() as u64);
    builder.append(&header, data).unwrap();
}

fn file(builder: &mut ::tar::Builder<&File>, name: &str, data: &[u8]) {
    raw_entry(builder, name.as_bytes(), ::tar::EntryType::Regular, data);
}

fn dir(builder: &mut ::tar::Builder<&File>, name: &str) {
    raw_entry(builder, name.as_bytes(), ::tar::EntryType::Directory, b"");
}

fn link(builder: &mut ::tar::Builder<&File>, kind: ::tar::EntryType, name: &str, target: &str) {
    let mut header = raw_header(name.as_bytes(), kind, 0);
    header.set_link_name_literal(target).unwrap();
    header.set_cksum();
    builder.append(&header, std::io::empty()).unwrap();
}
