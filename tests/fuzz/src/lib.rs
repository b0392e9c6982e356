//! What each fuzz target does with its input. Each says how far it got, so that what the targets start from can be held to it: a seed that is
//! refused at the first byte is none.

pub mod acpi;
pub mod channel;
pub mod elf;
pub mod erofs;
pub mod frames;
pub mod gpt;
pub mod manifest;
pub mod program;
pub mod tar;
pub mod tcp;
