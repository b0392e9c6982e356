//! Programs that choose what a socket receives: `SO_ATTACH_FILTER`, socket(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_net::chunk::{Chunk, Chunks};
use isopod_net::endpoint::Sieve;
use isopod_net::interface::LOOPBACK_INDEX;
use isopod_net::packet::IpHeader;
use isopod_net::watch::Seen;

use crate::bpf::{ANCILLARY, LINK, NETWORK, Program, Subject};
use crate::kernel;
use isopod_net::address::is_v4;

/// Bytes of a header of Ethernet.
pub const HEADER: usize = 14;
/// Ancillary places (`SKF_AD_PROTOCOL` and its kin). What is not here is 0.
const PROTOCOL: u32 = 0;
const KIND: u32 = 4;
const INTERFACE: u32 = 8;
const HARDWARE: u32 = 28;
const RANDOM: u32 = 56;

/// Bytes that lie in pieces: a number of `size` of them, in the network's order.
fn number(parts: &mut dyn Iterator<Item = &[u8]>, mut at: usize, size: usize) -> Option<u32> {
    let (mut value, mut left) = (0, size);
    for part in parts {
        let Some(rest) = part.get(at..) else {
            at -= part.len();
            continue;
        };
        at = 0;
        for byte in rest.iter().take(left) {
            value = value << 8 | u32::from(*byte);
            left -= 1;
        }
        if left == 0 {
            return Some(value);
        }
    }
    None
}

/// A frame as sockets see it.
pub struct Frame<'a> {
    seen: &'a Seen<'a>,
    /// What it carries.
    pub protocol: u16,
}

impl<'a> Frame<'a> {
    pub fn new(seen: &'a Seen<'a>) -> Self {
        let frame = Self { seen, protocol: 0 };
        let protocol = number(&mut frame.parts(), 12, 2).unwrap_or(0) as u16;
        Self { protocol, ..frame }
    }

    /// Its bytes, in pieces.
    pub fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        core::iter::once(self.seen.head).chain(self.seen.data.iter().map(|chunk| &**chunk))
    }

    /// How many bytes it is.
    pub fn length(&self) -> usize {
        self.seen.head.len() + self.seen.data.len()
    }

    /// `ARPHRD_LOOPBACK`, `ARPHRD_ETHER`
    pub fn hatype(&self) -> u16 {
        if self.seen.interface == LOOPBACK_INDEX { 772 } else { 1 }
    }

    /// Who sent it.
    pub fn sender(&self) -> [u8; 6] {
        core::array::from_fn(|at| number(&mut self.parts(), 6 + at, 1).unwrap_or(0) as u8)
    }

    /// So many bytes from one on. What a card has written is lent; what is about to be sent, or is too short to be worth that, is copied.
    pub fn bytes(&self, begin: usize, count: usize) -> Option<Chunks> {
        if self.seen.head.is_empty() && count >= 1024 {
            let mut data = self.seen.data.try_clone().ok()?;
            data.advance(begin);
            data.truncate(count);
            return Some(data);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).ok()?;
        let mut skip = begin;
        for part in self.parts() {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            bytes.extend_from_slice(&rest[..rest.len().min(count - bytes.len())]);
        }
        Some(Chunk::from(bytes).into())
    }
}

/// A frame from a byte on, as programs see it.
pub struct Packet<'a> {
    pub frame: &'a Frame<'a>,
    pub begin: usize,
}

impl Subject for Packet<'_> {
    fn load(&self, place: u32, size: usize) -> Option<u32> {
        let seen = self.frame.seen;
        let at = match place {
            ANCILLARY.. => {
                return Some(match place - ANCILLARY {
                    PROTOCOL => self.frame.protocol.into(),
                    KIND => seen.whose as u32,
                    INTERFACE => seen.interface,
                    HARDWARE => self.frame.hatype().into(),
                    RANDOM => kernel::random_u64() as u32,
                    _ => 0,
                });
            }
            NETWORK.. => HEADER + (place - NETWORK) as usize,
            LINK.. => (place - LINK) as usize,
            _ => self.begin + place as usize,
        };
        number(&mut self.frame.parts(), at, size)
    }

    fn length(&self) -> u32 {
        self.frame.length().saturating_sub(self.begin) as u32
    }
}

/// A message on its way to a socket, as programs see it.
struct Message<'a> {
    header: &'a IpHeader,
    head: &'a [u8],
    data: &'a Chunks,
}

impl Subject for Message<'_> {
    fn load(&self, place: u32, size: usize) -> Option<u32> {
        /// `ETH_P_IP`, `ETH_P_IPV6`
        const PROTOCOLS: [u32; 2] = [0x800, 0x86dd];
        match place {
            ANCILLARY.. => Some(match place - ANCILLARY {
                PROTOCOL => PROTOCOLS[usize::from(!is_v4(&self.header.source))],
                INTERFACE => self.header.interface,
                HARDWARE if self.header.interface == LOOPBACK_INDEX => 772,
                HARDWARE => 1,
                RANDOM => kernel::random_u64() as u32,
                _ => 0,
            }),
            // Headers of lower layers are not there any more.
            LINK.. => None,
            _ => {
                let mut parts = core::iter::once(self.head).chain(self.data.iter().map(|chunk| &**chunk));
                number(&mut parts, place as usize, size)
            }
        }
    }

    fn length(&self) -> u32 {
        (self.head.len() + self.data.len()) as u32
    }
}

/// A program that looks at what comes to an endpoint.
#[derive(Debug)]
pub struct Chosen(pub Arc<Program>);

impl Sieve for Chosen {
    fn keeps(&self, header: &IpHeader, head: &[u8], data: &Chunks) -> usize {
        self.0.run(&Message { header, head, data }) as usize
    }
}
