//! Every file of a folder on one line each: what a comparison of two file systems must see.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Prints the files below `folder`, without other file systems mounted there: path, type, mode, owner, time, size,
/// content, names, extended attributes. Paths begin with `/`, the folder being the root.
pub fn print(folder: &str) {
    let root = Path::new(folder);
    let device = fs::symlink_metadata(root).expect("the folder is there").dev();
    let mut first_names = BTreeMap::new();
    walk(root, root, device, &mut first_names);
}

/// Describes what is in `folder`, in the order of names; `first_names` tells under which path an inode came first.
fn walk(root: &Path, folder: &Path, device: u64, first_names: &mut BTreeMap<u64, String>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).expect("a listed file can be described");
        if metadata.dev() != device {
            continue;
        }
        let name = format!("/{}", path.strip_prefix(root).expect("it lies below the root").display());
        let first = first_names.entry(metadata.ino()).or_insert_with(|| name.clone());
        let same_as = if *first == name { String::new() } else { format!(" same as {first}") };
        println!("{name}\t{}{same_as}{}", describe(&path, &metadata), attributes(&path));
        if metadata.is_dir() {
            walk(root, &path, device, first_names);
        }
    }
}

/// Type and metadata of one file.
fn describe(path: &Path, metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        let bytes = fs::read(path).expect("root reads every file");
        format!("file {} bytes {:016x} names {}", bytes.len(), hash(&bytes), metadata.nlink())
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path).expect("a link").as_os_str().as_bytes().escape_ascii())
    } else if kind.is_dir() {
        "folder".to_owned()
    } else {
        let name = if kind.is_fifo() {
            "pipe"
        } else if kind.is_socket() {
            "socket"
        } else {
            "device"
        };
        format!("{name} {}:{}", libc::major(metadata.rdev()), libc::minor(metadata.rdev()))
    };
    let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
    format!(
        "{content} mode {mode:o} owner {uid}:{gid} time {}.{:09}",
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}

/// FNV-1a, which tells contents apart well enough and is written in three lines.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Extended attributes by name.
fn attributes(path: &Path) -> String {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path holds no NUL");
    let mut names = vec![0u8; 65536];
    let Ok(length) = sys!(SYS_llistxattr, path.as_c_str(), names.as_mut_ptr(), names.len()) else {
        return String::new();
    };
    let mut shown: Vec<_> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            let name = CString::new(name).expect("split at NUL");
            let length =
                sys!(SYS_lgetxattr, path.as_c_str(), name.as_c_str(), value.as_mut_ptr(), value.len())
                    .unwrap_or(0);
            format!(" {}={}", name.to_string_lossy(), value[..length].escape_ascii())
        })
        .collect();
    shown.sort();
    shown.concat()
}
