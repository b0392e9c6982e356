//! The Isopod guest kernel.
#![forbid(unsafe_code)]

fn main() {}
