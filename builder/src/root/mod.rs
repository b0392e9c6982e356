//! The root of an application: its layers, its directory or its files, merged in memory and written as one EROFS file system.
//!
//! - [`Tree`] is the merged tree; it comes from layers, from a directory of the host, or is put together file by file.
//! - [`tar`] reads layers: an index of what is in them, contents stay where they are.
//! - [`erofs`] writes a tree as a file system.
//! - [`passwd`] turns the user that an image names into numbers.
//!
//! Nothing is ever unpacked onto the host's file system.

mod content;
mod directory;
pub mod erofs;
mod error;
mod info;
mod merge;
pub mod passwd;
pub mod tar;
mod tree;

use crate::foreign::visible;
pub use content::{Content, Extent};
pub use error::{NodeProblem, RootError};
pub use info::RootInfo;
pub use tree::{Device, Directory, Kind, LookupError, Meta, Node, NodeId, Timestamp, Tree, Xattrs};

/// Bytes of a name as a message shows them: what a terminal would obey and what is not UTF-8 escaped.
fn printable(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(&visible(chunk.valid()));
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

/// Whether an extended attribute belongs into a root: Linux must know its namespace, and it must not speak of the machine that it
/// was made on, as `SELinux` labels and NFS access lists do. Other unpackers leave out the same.
fn keeps_xattr(name: &[u8]) -> bool {
    let known = |prefix: &&[u8]| name.len() > prefix.len() && name.starts_with(prefix);
    match name {
        b"security.selinux" => false,
        b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => [&b"user."[..], b"trusted.", b"security."].iter().any(known),
    }
}

#[cfg(test)]
mod tests;
