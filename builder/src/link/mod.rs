//! Kernel, root and manifest become one bootable ELF; and what is looked at before: will the application's program start?

mod directory;
mod error;
mod image;
mod kernel;
mod open;
mod output;

pub use error::LinkError;
pub use image::{LIMIT, Parts, write};
pub use open::{Linked, open};
pub use output::Output;
