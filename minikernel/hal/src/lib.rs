//! The machine beneath the Isopod guest kernel.
//!
//! This is the only kernel crate with `unsafe` code. Everything above it sees frames, page tables, user contexts,
//! vectors, clocks and ports as safe types; whatever those rooms do, they cannot break memory safety.
//!
//! The crate builds in two ways. With `--cfg isopod_bare` it runs on an x86-64 machine without an operating system
//! (module `bare`). Without it, it runs inside an ordinary process (module [`hosted`]): RAM is an arena, the page
//! tables are the same tables walked in software, and devices are models that a test installs. All the logic between
//! these two ends is the same code.
//!
//! Several processors may run the crates above at the same moment: every type is `Send + Sync` where its meaning allows it.
#![no_std]
#![expect(
    clippy::cast_ptr_alignment,
    reason = "pages are aligned, and offsets are checked where a word is read"
)]
#![cfg_attr(
    all(not(isopod_bare), not(test)),
    expect(
        dead_code,
        reason = "hosted, nobody boots: what reads the loader's structures waits for the bare machine"
    )
)]

extern crate alloc;
#[cfg(not(isopod_bare))]
extern crate std;

#[cfg(isopod_bare)]
mod bare;
#[cfg(not(isopod_bare))]
pub mod hosted;

#[cfg(isopod_bare)]
use bare as machine;
#[cfg(not(isopod_bare))]
use hosted as machine;

mod address;
pub mod boot;
pub mod boot_memory;
pub mod clock;
pub mod cpu;
pub mod dma;
pub mod firmware;
pub mod frame;
pub mod heap;
pub mod irq;
pub mod log;
mod memory;
pub mod mmio;
pub mod number_map;
pub mod paging;
pub mod panic;
pub mod port;
pub mod power;
pub mod random;
mod symbols;
pub mod sync;
pub mod timer;
pub mod uaccess;
pub mod user;
pub mod vdso;

pub use address::{PhysAddr, PhysRange};
pub use memory::{MemoryStats, OutOfMemory, memory_stats};

/// Size of a page and of a frame in bytes.
pub const PAGE_SIZE: usize = 4096;
