//! What names a connection, and where its segments go.

use core::net::IpAddr;

use super::{Path, SegmentHeader};
use crate::chunk::Chunks;

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// An address and a port.
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// This end.
    pub local: Endpoint,
    /// The peer.
    pub remote: Endpoint,
}

/// The layer below. It may be called with a connection locked, so it must not give a segment to a connection before it returns: a
/// loopback device queues it.
pub trait Output {
    /// Sends a segment from `flow.local` to `flow.remote`. The ports are in `header`; the checksum is for this layer to fill in. A payload
    /// longer than `header.segment_size`, where that is not zero, is to be cut.
    fn segment(&mut self, flow: &Flow, header: &SegmentHeader, payload: Chunks);

    /// By which interface a listener sees a segment arrive that came by one.
    fn arrival(&self, _flow: &Flow, interface: u32) -> u32 {
        interface
    }

    /// The path that a connection would take.
    fn path(&self, flow: &Flow) -> Path;
}
