//! TCP/IP of the guest kernel: interfaces, addresses and routes, the protocols above them, and nothing of Linux' sockets.
//!
//! No operation blocks and none reads a clock: what happens, happens at the moment that the caller names, in nanoseconds of the monotonic
//! clock. So a test runs hours of a lossy network in a second. The wire formats are smoltcp's.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
mod checksum;
pub mod chunk;
mod configuration;
pub mod dhcp;
pub mod endpoint;
pub mod error;
pub mod event;
mod groups;
pub mod icmp;
pub mod interface;
mod ip;
mod limit;
pub mod link;
pub mod packet;
mod path_mtu;
mod ports;
pub mod raw;
pub mod route;
pub mod segments;
mod source;
pub mod stack;
pub mod tcp;
pub mod udp;
pub mod watch;
