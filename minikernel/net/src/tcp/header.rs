//! The header of a segment (RFC 9293, section 3.1), as a value. Only this file knows how it looks on the wire.

use smoltcp::wire::{TcpOption, TcpPacket};

use super::{Manner, Seq};

bitflags::bitflags! {
    /// The control bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 1;
        /// Synchronizes sequence numbers.
        const SYN = 2;
        /// Resets the connection.
        const RST = 4;
        /// Asks that the data be delivered at once.
        const PSH = 8;
        /// The acknowledgment field holds.
        const ACK = 16;
        /// The urgent pointer holds.
        const URG = 32;
    }
}

/// The fixed fields of a segment and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// The sequence number of the first byte, or of the SYN.
    pub sequence: Seq,
    /// The next sequence number that the sender expects; it holds with [`Flags::ACK`].
    pub acknowledgment: Seq,
    /// The control bits.
    pub flags: Flags,
    /// The window as it is on the wire, not yet scaled.
    pub window: u16,
    /// Distance from the sequence number to the urgent pointer; it holds with [`Flags::URG`].
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// Not on the wire: a payload longer than this is to be cut by the device into segments of this size, each with the sequence
    /// number that follows; FIN and PSH belong to the last. Zero where there is nothing to cut.
    pub segment_size: u16,
    /// Nor is this: how the packet goes.
    pub manner: Manner,
}

/// The options that this implementation reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (RFC 9293, section 3.7.1), on a SYN.
    pub maximum_segment_size: Option<u16>,
    /// Window scale (RFC 7323, section 2), on a SYN.
    pub window_scale: Option<u8>,
    /// Timestamps (RFC 7323, section 3).
    pub timestamps: Option<Timestamps>,
    /// The sender takes selective acknowledgments (RFC 2018, section 2), on a SYN.
    pub sack_permitted: bool,
    /// Selective acknowledgments (RFC 2018, section 3): what was received out of order, the latest first.
    pub sack: [Option<(Seq, Seq)>; 3],
}

/// The timestamps option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// What the sender saw last of the receiver's clock.
    pub echo: u32,
}

impl SegmentHeader {
    /// Bytes of a header without options.
    pub const LEN: usize = 20;
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = 60;

    /// Reads the header at the front of a segment, and tells where the payload begins. The checksum is the caller's to verify. `None`
    /// when the segment is too short for its header; an option that makes no sense ends the options, as in Linux.
    pub fn parse(segment: &[u8]) -> Option<(Self, usize)> {
        let packet = TcpPacket::new_checked(segment).ok()?;
        let length = packet.header_len() as usize;
        let header = Self {
            source: packet.src_port(),
            destination: packet.dst_port(),
            sequence: Seq(packet.seq_number().0 as u32),
            acknowledgment: Seq(packet.ack_number().0 as u32),
            flags: Flags::from_bits_truncate(segment[13]),
            window: packet.window_len(),
            urgent: packet.urgent_at(),
            options: Options::parse(&segment[Self::LEN..length]),
            segment_size: 0,
            manner: Manner::default(),
        };
        Some((header, length))
    }

    /// Bytes of the header on the wire.
    pub fn encoded_len(&self) -> usize {
        Self::LEN + self.options.encoded_len()
    }

    /// Writes the header to `buffer`, which has [`encoded_len`](Self::encoded_len) bytes. The checksum field is zero.
    pub fn emit(&self, buffer: &mut [u8]) {
        let length = (buffer.len() as u32 / 4) << 28;
        // Written as words, since every segment has them.
        let words = [
            u32::from(self.source) << 16 | u32::from(self.destination),
            self.sequence.0,
            self.acknowledgment.0,
            length | u32::from(self.flags.bits()) << 16 | u32::from(self.window),
            self.urgent.into(),
        ];
        for (place, word) in buffer.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        if let Some(options) = buffer.get_mut(Self::LEN..) {
            self.options.emit(options);
        }
    }

    /// The numbers of the sequence space that a segment with `payload` bytes occupies: SYN and FIN count (RFC 9293, section 3.4).
    pub fn sequence_length(&self, payload: usize) -> u32 {
        let controls = self.flags & (Flags::SYN | Flags::FIN);
        payload as u32 + controls.bits().count_ones()
    }
}

impl Options {
    fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let Ok((rest, option)) = TcpOption::parse(bytes) {
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(size) => options.maximum_segment_size = Some(size),
                TcpOption::WindowScale(shift) => options.window_scale = Some(shift),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::SackRange(blocks) => {
                    options.sack = blocks.map(|block| block.map(|(start, end)| (Seq(start), Seq(end))));
                }
                TcpOption::TimeStamp { tsval, tsecr } => {
                    options.timestamps = Some(Timestamps { value: tsval, echo: tsecr });
                }
                TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
            }
            bytes = rest;
        }
        options
    }

    /// Bytes on the wire, a multiple of four.
    fn encoded_len(&self) -> usize {
        let mut length = 0;
        self.each(&mut |option| length += option.buffer_len());
        length.next_multiple_of(4)
    }

    fn emit(&self, buffer: &mut [u8]) {
        let mut left = buffer;
        self.each(&mut |option| left = option.emit(core::mem::take(&mut left)));
    }

    /// The options in the order in which Linux writes them. Those of every segment start at a multiple of four bytes.
    fn each(&self, visit: &mut dyn FnMut(&TcpOption<'_>)) {
        if let Some(size) = self.maximum_segment_size {
            visit(&TcpOption::MaxSegmentSize(size));
        }
        if self.sack_permitted {
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::SackPermitted);
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::TimeStamp { tsval: value, tsecr: echo });
        }
        if let Some(shift) = self.window_scale {
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::WindowScale(shift));
        }
        if self.sack[0].is_some() {
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::NoOperation);
            visit(&TcpOption::SackRange(self.sack.map(|block| block.map(|(start, end)| (start.0, end.0)))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_header()(
            ports in any::<(u16, u16)>(), numbers in any::<(u32, u32)>(), flags in 0u8..64, fields in any::<(u16, u16)>(),
            syn in any::<(Option<u16>, Option<u8>, bool)>(), timestamps in any::<Option<(u32, u32)>>(),
            blocks in proptest::collection::vec(any::<(u32, u32)>(), 0..=3),
        ) -> SegmentHeader {
            // A SYN carries no selective acknowledgment, and there would be no room for it.
            let on_syn = blocks.is_empty();
            let mut sack = [None; 3];
            for (place, (start, end)) in sack.iter_mut().zip(blocks) {
                *place = Some((Seq(start), Seq(end)));
            }
            SegmentHeader {
                source: ports.0, destination: ports.1, sequence: Seq(numbers.0), acknowledgment: Seq(numbers.1),
                flags: Flags::from_bits_truncate(flags), window: fields.0, urgent: fields.1,
                options: Options {
                    maximum_segment_size: syn.0.filter(|_| on_syn), window_scale: syn.1.filter(|_| on_syn),
                    sack_permitted: syn.2 && on_syn, sack,
                    timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
                },
                segment_size: 0,
                manner: Manner::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(header in any_header()) {
            let mut buffer = [0xff; SegmentHeader::MAX_LEN];
            header.emit(&mut buffer[..header.encoded_len()]);
            prop_assert_eq!(SegmentHeader::parse(&buffer[..header.encoded_len()]), Some((header.clone(), header.encoded_len())));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some((_, payload)) = SegmentHeader::parse(&bytes) {
                prop_assert!((SegmentHeader::LEN..=bytes.len()).contains(&payload));
            }
        }
    }

    #[test]
    fn a_senseless_option_ends_the_options_and_not_the_segment() {
        let mut bytes = [0; 32];
        SegmentHeader::default().emit(&mut bytes[..20]);
        bytes[12] = 8 << 4;
        // A window scale, then an option that claims to be one byte long, then another window scale.
        bytes[20..].copy_from_slice(&[3, 3, 7, 9, 1, 0, 0, 0, 3, 3, 9, 0]);
        let (header, payload) = SegmentHeader::parse(&bytes).unwrap();
        assert_eq!((header.options.window_scale, payload), (Some(7), 32));
    }

    #[test]
    fn syn_and_fin_occupy_a_number_each() {
        let header = |flags| SegmentHeader { flags, ..SegmentHeader::default() };
        assert_eq!(header(Flags::SYN | Flags::FIN | Flags::PSH).sequence_length(3), 5);
        assert_eq!(header(Flags::ACK).sequence_length(0), 0);
    }
}
