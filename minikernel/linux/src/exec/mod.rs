//! execve(2): from a file to a program that runs.
//!
//! The new address space is built beside the old one ([`image`], [`stack`]); until it is complete every error goes back to the
//! caller, who still exists. Then [`replace`] puts it in place, and nothing can fail any more.

mod elf;
mod file_capabilities;
mod image;
mod open;
mod privilege;
mod replace;
mod script;
mod stack;
mod vdso;

pub use open::{open, open_path};
#[cfg(fuzzing)]
pub use replace::entry;
pub use replace::{NO_RANDOMIZATION, Program, execute};
pub use stack::{Room, STRING_MAX};
