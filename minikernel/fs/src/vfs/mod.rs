//! The one tree of files over all file systems, and the operations on it.
//!
//! A [`Namespace`] holds the mounts, a [`Path`] is a place in it, and a [`View`] is the tree as one thread sees it:
//! its methods are the system calls on files, in the words and with the errors of their man pages. Those on a
//! name take where it starts and the name; those on a file take its [`Path`].

mod attributes;
mod create;
mod dentry;
mod mount;
mod namespace;
mod open;
mod path;
mod permission;
mod remove;
mod rename;
mod special;
mod view;
mod walk;
mod xattr;

pub use attributes::SetTime;
pub use mount::{Mount, MountFlags};
pub use namespace::{Namespace, Unmounting};
pub use open::OpenHow;
pub use path::Path;
pub(crate) use permission::clear_privileges;
pub use permission::{Access, check_inode};
pub use special::{Device, SpecialFiles};
pub use view::{Process, View};
pub use walk::Resolve;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
