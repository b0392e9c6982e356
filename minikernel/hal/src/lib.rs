//! The machine.
#![no_std]

extern crate alloc;
