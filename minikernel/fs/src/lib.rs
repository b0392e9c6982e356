//! See the module list.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
