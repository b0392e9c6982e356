//! The builder: finds an application, merges its layers into one root, joins that with the guest kernel, and runs it.
//!
//! - [`store`]: the content-addressed cache every other room reads from and writes to.
//! - [`source`]: where images come from, and how their layers reach the store.
//! - [`root`]: layers, directories and files merged in memory, and written as one EROFS file system.
//! - [`link`]: kernel, root and manifest become one bootable ELF.
// One file of `engine` needs `unsafe`, to set up a child between fork and exec.
#![deny(unsafe_code)]

pub mod engine;
pub mod link;
pub mod root;
pub mod source;
pub mod store;
