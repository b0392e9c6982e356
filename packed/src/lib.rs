//! Code that is kept compressed until it is first reached: how it lies in memory.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | how many pages there are, `n` |
//! | 4 | 144 | the lengths of the codes of literals and lengths, four bits each, the lower ones first |
//! | 148 | 40 | the lengths of the codes of distances, likewise |
//! | 188 | 4 · (n + 1) | where each page's block begins, and where the last one ends, from offset 0 on |
//! | 4 · (n + 48) | | the blocks |
//!
//! Numbers are little endian. A block is a page by itself, as DEFLATE would compress it (RFC 1951): literals, and matches of what lies up to a
//! distance before, which may be in a dictionary that is thought to lie before the page. Two things differ, since pages are small and there are
//! many of them. The codes are those of all pages together and written down once; and there are distances to all of a large dictionary, and a
//! symbol for the distance of the match before. A block of a page's length is the page itself. So each page can be had without the others.
#![cfg_attr(not(feature = "pack"), no_std)]
#![forbid(unsafe_code)]

mod codes;
#[cfg(feature = "pack")]
mod pack;
mod unpack;

#[cfg(feature = "pack")]
pub use pack::pack;
pub use unpack::{Codes, Packed};

/// A page of x86-64, in bytes.
pub const PAGE: usize = 4096;
