//! The client of DHCP (RFC 2131).

use alloc::string::String;
use alloc::vec::Vec;

use crate::address::Address;

/// What a server has given (RFC 2132). Names are as the server wrote them, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Address,
    /// Its network's bits, with those before an address of IPv4.
    pub prefix: u8,
    /// The server.
    pub server: Address,
    /// Routers, the best first.
    pub routers: Vec<Address>,
    /// Networks, their bits as above, and the routers to them (RFC 3442): if there are any, the routers count no more. One without a router is on the link.
    pub routes: Vec<(Address, u8, Option<Address>)>,
    /// Name servers.
    pub dns: Vec<Address>,
    /// Where names are looked for (RFC 3397); the domain, if nothing else was said.
    pub search: Vec<String>,
    /// The machine's domain.
    pub domain: Option<String>,
    /// The machine's name.
    pub hostname: Option<String>,
    /// The longest packet.
    pub mtu: Option<u16>,
    /// Until when it holds, in nanoseconds of the monotonic clock.
    pub until: u64,
}
