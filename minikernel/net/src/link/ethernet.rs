//! The header of Ethernet.

use super::neighbour::Hardware;
use super::port::{Frame, HEADERS_MAX};
use crate::address::Address;
use crate::chunk::Chunks;

/// Bytes of a header.
pub const HEADER: usize = 14;
/// The types of what a frame carries.
pub const IPV4: u16 = 0x0800;
/// See [`IPV4`].
pub const ARP: u16 = 0x0806;
/// See [`IPV4`].
pub const IPV6: u16 = 0x86dd;
/// The address of everybody on a link.
pub const EVERYBODY: Hardware = [0xff; 6];

impl Frame {
    /// One with nothing but its header.
    pub(super) fn new(to: Hardware, from: Hardware, kind: u16) -> Self {
        let mut headers = [0; HEADERS_MAX];
        headers[..6].copy_from_slice(&to);
        headers[6..12].copy_from_slice(&from);
        headers[12..HEADER].copy_from_slice(&kind.to_be_bytes());
        Self { headers, length: HEADER as u8, payload: Chunks::new(), checksum: None, segment: None }
    }

    /// The next `count` bytes of the headers, which are zero.
    pub(super) fn extend(&mut self, count: usize) -> &mut [u8] {
        let start = usize::from(self.length);
        self.length += count as u8;
        &mut self.headers[start..start + count]
    }
}

/// The address on the link of a group (RFC 1112, section 6.4; RFC 2464, section 7).
pub fn of_group(group: &Address) -> Hardware {
    let [.., a, b, c, d] = group.octets();
    if group.to_ipv4_mapped().is_some() { [1, 0, 0x5e, b & 0x7f, c, d] } else { [0x33, 0x33, a, b, c, d] }
}
