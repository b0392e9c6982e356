//! Packets to frames: headers, checksums, and segments that are longer than they may be.

use core::mem::take;

use super::ethernet::{HEADER, IPV4, IPV6};
use super::neighbour::Hardware;
use super::port::{Frame, Offloads, PartialSum, Segments};
use super::{Link, extensions};
use crate::address::is_v4;
use crate::checksum::Sum;
use crate::chunk::{Chunk, Chunks};
use crate::ip;
use crate::packet::{IpHeader, Outbox, Packet, Payload, UdpHeader, protocol};
use crate::tcp::{Flags, SegmentHeader};

/// Where the checksums of TCP and UDP stand in their headers.
const TCP_SUM: usize = 16;
/// See [`TCP_SUM`].
const UDP_SUM: usize = 6;

impl Link {
    /// Sends a packet to an address on the link.
    pub(super) fn emit(&self, packet: &mut Packet, to: Hardware, out: &mut Outbox) {
        if packet.header.cut_to > 0 {
            // Without memory it is lost, as on any link.
            let _ = self.emit_fragments(packet.take(), to, out);
            return;
        }
        let Packet { header, payload } = packet;
        let (mut frame, data) = match payload {
            Payload::Tcp(segment, data) => return self.emit_segment(header, segment, data, to, out),
            Payload::Udp(ports, data) => {
                let length = (UdpHeader::LEN + data.len()) as u16;
                let mut frame = self.begin(header, protocol::UDP, length.into(), to);
                let words = [ports.source, ports.destination, length, 0].map(u16::to_be_bytes);
                frame.extend(UdpHeader::LEN).copy_from_slice(words.as_flattened());
                frame.payload = take(data);
                self.sum(&mut frame, header, protocol::UDP, UDP_SUM);
                return self.send(&mut frame, out);
            }
            Payload::Verbatim(_, data) => {
                let kind = if is_v4(&header.destination) { IPV4 } else { IPV6 };
                (Frame::new(to, self.hardware, kind), data)
            }
            Payload::Other(protocol, data) => (self.begin(header, *protocol, data.len(), to), data),
        };
        frame.payload = take(data);
        self.send(&mut frame, out);
    }

    /// A frame with the header of IP, for `length` bytes behind that.
    fn begin(&self, header: &IpHeader, protocol: u8, length: usize, to: Hardware) -> Frame {
        let kind = if is_v4(&header.destination) { IPV4 } else { IPV6 };
        let mut frame = Frame::new(to, self.hardware, kind);
        let counts = kind == IPV4 && !header.whole && header.cut_to == 0;
        let identification = if counts { self.identification(&header.destination) as u16 } else { 0 };
        if let Some(bytes) = frame.headers[HEADER..].first_chunk_mut() {
            frame.length += ip::emit(header, protocol, length, identification, bytes) as u8;
        }
        frame
    }

    /// Sends a packet in fragments (RFC 791, section 3.2; RFC 8200, section 4.5).
    fn emit_fragments(&self, packet: Packet, to: Hardware, out: &mut Outbox) -> Option<()> {
        let Packet { header, payload } = packet;
        let protocol = payload.protocol();
        let mut data = match payload {
            Payload::Udp(ports, data) => with_header(&header, ports, data)?,
            Payload::Tcp(..) | Payload::Verbatim(..) => return None,
            Payload::Other(_, data) => data,
        };
        let v4 = is_v4(&header.destination);
        let before = if v4 { ip::V4_HEADER } else { ip::V6_HEADER + extensions::FRAGMENT_HEADER };
        let room = (header.cut_to as usize).checked_sub(before)? & !7;
        let identification = self.identification(&header.destination);
        let mut offset = 0;
        while !data.is_empty() && room > 0 {
            let part = data.split_to(room).ok()?;
            let more = !data.is_empty();
            let mut frame;
            if v4 {
                frame = self.begin(&header, protocol, part.len(), to);
                ip::set_fragment(
                    &mut frame.headers[HEADER..HEADER + ip::V4_HEADER],
                    identification as u16,
                    offset as u16,
                    more,
                );
            } else {
                let length = extensions::FRAGMENT_HEADER + part.len();
                frame = self.begin(&header, extensions::FRAGMENT, length, to);
                let place = (offset as u16 | u16::from(more)).to_be_bytes();
                let number = identification.to_be_bytes();
                let own = frame.extend(extensions::FRAGMENT_HEADER);
                own[0] = protocol;
                own[2..4].copy_from_slice(&place);
                own[4..].copy_from_slice(&number);
            }
            offset += part.len();
            frame.payload = part;
            self.send(&mut frame, out);
        }
        Some(())
    }

    fn emit_segment(
        &self,
        header: &IpHeader,
        segment: &mut SegmentHeader,
        data: &mut Chunks,
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
            self.emit_one(header, segment, part, None, to, out);
            segment.sequence += count;
            segment.urgent = segment.urgent.saturating_sub(count as u16);
        }
        segment.flags = last;
        if last.contains(Flags::URG) && segment.urgent == 0 {
            segment.flags -= Flags::URG;
        }
        let cut = (size > 0 && data.len() > size).then_some(Segments { v6: !v4, size: size as u16 });
        self.emit_one(header, segment, take(data), cut, to, out);
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
        self.send(&mut frame, out);
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
            sum.finish_sent()
        };
        frame.headers[start + offset..][..2].copy_from_slice(&whole.to_be_bytes());
    }
}

/// A datagram with its header and its whole checksum.
fn with_header(header: &IpHeader, ports: UdpHeader, data: Chunks) -> Option<Chunks> {
    let length = UdpHeader::LEN + data.len();
    let words = [ports.source, ports.destination, length as u16, 0];
    let mut bytes = words.map(u16::to_be_bytes);
    let mut sum = Sum::of_pseudo_header(&header.source, &header.destination, protocol::UDP, length);
    sum.add(bytes.as_flattened());
    data.iter().for_each(|chunk| sum.add(chunk));
    bytes[3] = sum.finish_sent().to_be_bytes();
    let mut whole = Chunks::from(Chunk::copy_of(bytes.as_flattened()).ok()?);
    let mut data = data;
    while let Some(chunk) = data.pop() {
        whole.push(chunk).ok()?;
    }
    Some(whole)
}
