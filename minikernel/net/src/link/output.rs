//! Packets to frames: headers, checksums, and segments that are longer than they may be.

use super::Link;
use super::ethernet::{HEADER, IPV4, IPV6};
use super::neighbour::Hardware;
use super::port::{Frame, Offloads, PartialSum, Segments};
use crate::address::is_v4;
use crate::checksum::Sum;
use crate::chunk::Chunks;
use crate::ip;
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::tcp::{Flags, SegmentHeader};

/// Where the checksums of TCP and UDP stand in their headers.
const TCP_SUM: usize = 16;
/// See [`TCP_SUM`].
const UDP_SUM: usize = 6;

impl Link {
    /// Sends a packet to an address on the link.
    pub(super) fn emit(&self, packet: Packet, to: Hardware, out: &mut Outbox) {
        let Packet { header, payload } = packet;
        match payload {
            Payload::Tcp(segment, data) => self.emit_segment(&header, segment, data, to, out),
            Payload::Udp(ports, data) => {
                let length = (UdpHeader::LEN + data.len()) as u16;
                let mut frame = self.begin(&header, protocol::UDP, length.into(), to);
                let words = [ports.source, ports.destination, length, 0].map(u16::to_be_bytes);
                frame.extend(UdpHeader::LEN).copy_from_slice(words.as_flattened());
                frame.payload = data;
                self.sum(&mut frame, &header, protocol::UDP, UDP_SUM);
                self.send(frame, out);
            }
            Payload::Other(protocol, data) => {
                let mut frame = self.begin(&header, protocol, data.len(), to);
                frame.payload = data;
                self.send(frame, out);
            }
        }
    }

    /// A frame with the header of IP, for `length` bytes behind that.
    fn begin(&self, header: &IpHeader, protocol: u8, length: usize, to: Hardware) -> Frame {
        let kind = if is_v4(&header.destination) { IPV4 } else { IPV6 };
        let mut frame = Frame::new(to, self.port.hardware_address(), kind);
        let mut bytes = [0; ip::HEADER_MAX];
        let identification = if header.whole { 0 } else { self.next_identification() as u16 };
        let count = ip::emit(header, protocol, length, identification, &mut bytes);
        frame.extend(count).copy_from_slice(&bytes[..count]);
        frame
    }

    fn emit_segment(
        &self,
        header: &IpHeader,
        mut segment: SegmentHeader,
        mut data: Chunks,
        to: Hardware,
        out: &mut Outbox,
    ) {
        let size = usize::from(segment.segment_size);
        let v4 = is_v4(&header.destination);
        let cuts = self.offloads.contains(if v4 { Offloads::CUTS_V4 } else { Offloads::CUTS_V6 });
        let last = segment.flags;
        while size > 0 && data.len() > size && !cuts {
            // Without memory the rest is lost, as on any link.
            let Ok(part) = data.split_to(size) else { return };
            segment.flags = last - (Flags::FIN | Flags::PSH);
            let count = part.len() as u32;
            self.emit_one(header, &segment, part, None, to, out);
            segment.sequence += count;
            segment.urgent = segment.urgent.saturating_sub(count as u16);
        }
        segment.flags = last;
        if last.contains(Flags::URG) && segment.urgent == 0 {
            segment.flags -= Flags::URG;
        }
        let cut = (size > 0 && data.len() > size).then_some(Segments { v6: !v4, size: size as u16 });
        self.emit_one(header, &segment, data, cut, to, out);
    }

    fn emit_one(
        &self,
        header: &IpHeader,
        segment: &SegmentHeader,
        data: Chunks,
        cut: Option<Segments>,
        to: Hardware,
        out: &mut Outbox,
    ) {
        let length = segment.encoded_len();
        let mut frame = self.begin(header, protocol::TCP, length + data.len(), to);
        segment.emit(frame.extend(length));
        frame.payload = data;
        frame.segment = cut;
        self.sum(&mut frame, header, protocol::TCP, TCP_SUM);
        self.send(frame, out);
    }

    /// Puts the checksum of what follows the header of IP in its place, or as much of it as the card wants.
    fn sum(&self, frame: &mut Frame, header: &IpHeader, protocol: u8, offset: usize) {
        let ip = if is_v4(&header.destination) { ip::V4_HEADER } else { ip::V6_HEADER };
        let start = HEADER + ip;
        let length = frame.len() - start;
        let mut sum = Sum::of_pseudo_header(&header.source, &header.destination, protocol, length);
        let whole = if self.offloads.contains(Offloads::SUMS) {
            frame.checksum = Some(PartialSum { start: start as u16, offset: offset as u16 });
            // The card adds the rest to it.
            !sum.finish()
        } else {
            sum.add(&frame.headers()[start..]);
            frame.payload.iter().for_each(|chunk| sum.add(chunk));
            match sum.finish() {
                // None at all (RFC 768).
                0 => 0xffff,
                whole => whole,
            }
        };
        frame.headers[start + offset..][..2].copy_from_slice(&whole.to_be_bytes());
    }
}
