//! The builder: finds an application, merges its layers into one root, joins that with the guest kernel, and runs it.
//!
//! - [`store`]: the content-addressed cache every other room reads from and writes to.
//! - [`source`]: where images come from, and how their layers reach the store.
//! - [`root`]: layers, directories and files merged in memory, and written as one EROFS file system.
//! - [`kernel`]: the guest kernel, carried inside the program.
//! - [`link`]: kernel, root and manifest become one bootable ELF.
//! - [`disk`]: kernel, root and manifest become a partitioned disk, in the formats of hypervisors and clouds.
//! - [`prepare`]: from a reference to a finished root, by all of the above.
//! - [`engine`]: runs one virtual machine and carries its streams, signals and exit status.
//! - `foreign`: files and texts of others, opened and shown with care.
//! - [`cargo`]: the command line of `cargo isopod`.
//! - [`cli`]: the command line of `isopod`. Only it prints.
// One file of `engine` needs `unsafe`, to set up a child between fork and exec.
#![deny(unsafe_code)]

pub mod cargo;
pub mod cli;
pub mod disk;
pub mod engine;
mod foreign;
pub mod kernel;
pub mod link;
pub mod prepare;
pub mod root;
pub mod source;
pub mod store;
