//! Kernel, root and manifest become one bootable ELF or EFI program; and what is looked at before: will the application's program start?

mod command;
mod directory;
mod efi;
mod error;
mod image;
pub mod inspect;
mod kernel;
mod loading;
mod open;
mod output;
mod signal;
mod symbols;

pub use command::{CommandError, Overrides, Session, manifest};
pub use efi::{EfiProgram, EfiRoot};
pub use error::LinkError;
pub use image::{LIMIT, Payload, RootBytes, write};
pub use kernel::KernelFile;
pub use loading::{Loading, Segment, loading};
pub use open::{Linked, function, open};
pub use output::Output;
