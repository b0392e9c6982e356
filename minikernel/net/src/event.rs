//! What the network finds out that whoever configures the machine wants to know.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::address::Address;
use crate::dhcp::Lease;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A DHCP server has given or prolonged a lease; with `None` the one there was is over, and what came of it is to be undone.
    Lease {
        /// The interface.
        interface: u32,
        /// What was given.
        lease: Option<Box<Lease>>,
    },
    /// A router tells of name servers (RFC 8106).
    Resolvers {
        /// The interface that it is reached by.
        interface: u32,
        /// The servers.
        servers: Vec<Address>,
        /// Until when they are to be used, in nanoseconds of the monotonic clock.
        until: u64,
    },
}
