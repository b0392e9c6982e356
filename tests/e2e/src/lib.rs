//! What the end-to-end tests, `cargo xtask demo` and `cargo xtask bench` stand on: images made of Debian packages
//! and small programs, a real registry, and the program `isopod` run with a time limit.
//!
//! All of it works without root. What is expensive to make is kept in `target/e2e` and made once.
#![forbid(unsafe_code)]

pub mod cache;
pub mod disk;
pub mod elf;
pub mod guest;
pub mod host;
pub mod image;
pub mod isopod;
pub mod linux;
pub mod neighbour;
pub mod packages;
pub mod programs;
pub mod random;
pub mod registry;
pub mod room;
pub mod root;
pub mod server;
pub mod tree;

mod command;

pub use command::{Finished, run_limited, succeed};

/// How often a test with random input repeats it: `brief` times for every change, `long` times where `ISOPOD_TEST_ALL` is set, as
/// `cargo xtask test --all` does. A test that is left out as a whole is `#[ignore]`d and says why.
pub fn longer(brief: u64, long: u64) -> u64 {
    if std::env::var_os("ISOPOD_TEST_ALL").is_some() { long } else { brief }
}
