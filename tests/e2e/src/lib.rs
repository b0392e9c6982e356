//! What the end-to-end tests, `cargo xtask demo` and `cargo xtask bench` stand on: images made of Debian packages
//! and small programs, a real registry, and the program `isopod` run with a time limit.
//!
//! All of it works without root. What is expensive to make is kept in `target/e2e` and made once.
#![forbid(unsafe_code)]

pub mod cache;
pub mod image;
pub mod isopod;
pub mod packages;
pub mod programs;
pub mod registry;
pub mod tree;

mod command;

pub use command::{Finished, run_limited, succeed};
