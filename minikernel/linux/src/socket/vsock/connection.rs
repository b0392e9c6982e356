//! What packets do to a socket, and what it sends (virtio 1.2, 5.10.6; `virtio_transport_recv_pkt` of Linux).

use alloc::vec::Vec;

use isopod_drivers::virtio::vsock::HEADER;
use isopod_fs::{Bytes, Errno, Sink, Source};
use isopod_hal::PAGE_SIZE;
use zerocopy::IntoBytes;

use super::link::{self, Way};
use super::packet::{END_OF_MESSAGE, END_OF_RECORD, Header, Place, operation};
use super::{CID_LOCAL, Phase, Shutdown, State, VsockSocket, table};
use crate::socket::{Incoming, MessageFlags};

/// The most bytes of a packet: with its header it fits into what any device is given to fill.
const DATA_MAX: usize = PAGE_SIZE - HEADER;
/// A peer that could send less than this at a time is told of room (`VIRTIO_VSOCK_MAX_PKT_BUF_SIZE`).
const PACKET: u32 = 64 << 10;

/// How much each side may send (5.10.6.3). Bytes are counted from the beginning, and the numbers wrap.
#[derive(Debug)]
pub struct Credit {
    /// How many bytes may wait here, and the most that ever might.
    room: u32,
    granted: u32,
    /// How many have been received, and as far as the peer knows.
    forwarded: u32,
    told: u32,
    sent: u32,
    peer_room: u32,
    peer_forwarded: u32,
}

/// A message that waits to be received.
#[derive(Debug)]
pub struct Message {
    length: usize,
    ends_record: bool,
}

impl Credit {
    /// That of a socket where so many bytes may wait.
    pub fn new(room: u64) -> Self {
        let mut credit =
            Self { room: 0, granted: 0, forwarded: 0, told: 0, sent: 0, peer_room: 0, peer_forwarded: 0 };
        credit.offer(room);
        credit
    }

    /// So many bytes may wait here; true if they were others before.
    pub fn offer(&mut self, room: u64) -> bool {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        self.granted = self.granted.max(room);
        core::mem::replace(&mut self.room, room) != room
    }

    /// How many bytes the peer has room for.
    pub fn space(&self) -> usize {
        let on_their_way = self.sent.wrapping_sub(self.peer_forwarded);
        self.peer_room.saturating_sub(on_their_way) as usize
    }

    /// As if so many bytes had gone each way.
    #[cfg(test)]
    pub fn jump(&mut self, count: u32) {
        (self.sent, self.peer_forwarded, self.forwarded, self.told) = (count, count, count, count);
    }

    /// As a peer that does not care how much it may send.
    #[cfg(test)]
    pub fn forget_bounds(&mut self) {
        self.peer_room = u32::MAX;
    }
}

impl State {
    /// Whether so many bytes wait to be received, or a message does.
    pub fn has_data(&self, bytes: usize) -> bool {
        !self.messages.is_empty() || self.unfinished == 0 && self.bytes.len() >= bytes.max(1)
    }

    /// The connection has ended. What has come by it can still be received (`virtio_transport_do_close`).
    pub fn end(&mut self) {
        self.done = true;
        self.peer_shutdown = Shutdown::all();
        if !self.has_data(1) {
            self.phase = Phase::Over;
        }
    }

    /// Takes data in. `None` for more than there is room for, or memory.
    fn put(&mut self, header: &Header, data: &[u8], is_stream: bool) -> Option<()> {
        let room = self.credit.granted as usize;
        // A message without bytes takes no room, but a place among others.
        if self.bytes.len() + data.len() > room || self.messages.len() > room {
            return None;
        }
        self.bytes.write(&mut Bytes::new(data), usize::MAX).ok()?;
        if is_stream {
            return Some(());
        }
        self.unfinished += data.len();
        if header.flags & END_OF_MESSAGE != 0 {
            self.messages.try_reserve(1).ok()?;
            let length = core::mem::take(&mut self.unfinished);
            self.messages.push_back(Message { length, ends_record: header.flags & END_OF_RECORD != 0 });
        }
        Some(())
    }
}

impl VsockSocket {
    /// `VIRTIO_VSOCK_TYPE_*`
    fn type_of_packets(&self) -> u16 {
        if self.is_stream() { 1 } else { 2 }
    }

    /// The header of a packet to the peer.
    fn header(&self, state: &mut State, way: Way, operation: u16) -> Header {
        let credit = &mut state.credit;
        credit.told = credit.forwarded;
        Header {
            from_cid: if way == Way::Local { CID_LOCAL } else { link::own_cid().unwrap_or(0) },
            to_cid: state.remote.cid,
            from_port: state.local.port,
            to_port: state.remote.port,
            kind: self.type_of_packets(),
            operation,
            room: credit.room,
            forwarded: credit.forwarded,
            ..Header::default()
        }
    }

    /// Sends a packet without bytes.
    pub(super) fn tell(&self, state: &mut State, operation: u16, flags: u32) {
        if let Some(way) = state.way {
            let header = Header { flags, ..self.header(state, way, operation) };
            link::send(way, header.packet());
        }
    }

    /// There will be no connection.
    pub(super) fn fail(&self, state: &mut State, error: Errno) {
        (state.phase, state.error) = (Phase::Idle, Some(error));
        table::remove(self, false);
    }

    /// The machine was moved, and its connections to the host did not come along (`virtio_vsock_reset_sock`).
    pub(super) fn lose(&self) {
        let mut state = self.state.lock();
        self.fail(&mut state, Errno::ECONNRESET);
        // Nobody answers any more who was asked to be done with it.
        state.done |= state.closed;
        drop(state);
        self.wake();
    }

    /// Takes a packet in; false if it is for no connection of this socket's.
    pub(super) fn take_in(&self, header: &Header, data: &[u8], way: Way) -> bool {
        let mut state = self.state.lock();
        let other = state.phase != Phase::Listening && state.way != Some(way);
        if header.kind != self.type_of_packets() || state.done || other {
            return false;
        }
        (state.credit.peer_room, state.credit.peer_forwarded) = (header.room, header.forwarded);
        let taken = match state.phase {
            Phase::Listening => self.arrive(&mut state, header, way),
            Phase::Connecting => {
                match header.operation {
                    operation::RESPONSE => state.phase = Phase::Connected,
                    operation::RESET => self.fail(&mut state, Errno::ECONNRESET),
                    _ => {
                        self.tell(&mut state, operation::RESET, 0);
                        self.fail(&mut state, Errno::EPROTO);
                    }
                }
                true
            }
            Phase::Connected => {
                self.go_on(&mut state, header, data);
                true
            }
            Phase::Idle | Phase::Over => false,
        };
        drop(state);
        self.wake();
        taken
    }

    /// A connection is asked for (`virtio_transport_recv_listen`).
    fn arrive(&self, state: &mut State, header: &Header, way: Way) -> bool {
        let full = state.arrivals.len() > state.backlog || state.arrivals.try_reserve(1).is_err();
        if header.operation != operation::REQUEST || full || state.closed {
            return false;
        }
        let arrival = Self::new(self.common.kind, state.settings.clone());
        let mut other = arrival.state.lock();
        other.local = Place { cid: header.to_cid, port: header.to_port };
        other.remote = Place { cid: header.from_cid, port: header.from_port };
        (other.phase, other.way) = (Phase::Connected, Some(way));
        (other.credit.peer_room, other.credit.peer_forwarded) = (header.room, header.forwarded);
        if table::connect(&arrival.me, other.local.port, other.remote, way).is_err() {
            return false;
        }
        arrival.tell(&mut other, operation::RESPONSE, 0);
        drop(other);
        state.arrivals.push_back(arrival);
        true
    }

    /// A packet of a connection that is there (`virtio_transport_recv_connected`).
    fn go_on(&self, state: &mut State, header: &Header, data: &[u8]) {
        match header.operation {
            // Nobody receives it any more.
            operation::DATA if state.closed => {}
            operation::DATA if state.put(header, data, self.is_stream()).is_some() => {}
            operation::DATA => {
                // Bytes must not be missing.
                self.tell(state, operation::RESET, 0);
                state.error = Some(Errno::ECONNRESET);
                state.end();
                table::remove(self, false);
            }
            operation::CREDIT_REQUEST => self.tell(state, operation::CREDIT, 0),
            operation::SHUTDOWN => {
                state.peer_shutdown |= Shutdown::from_bits_truncate(header.flags as u8);
                if state.peer_shutdown.is_all() {
                    if !state.has_data(1) {
                        self.tell(state, operation::RESET, 0);
                        state.end();
                    }
                    // So that the peer can connect from the same place again.
                    table::remove(self, false);
                }
            }
            operation::RESET => {
                state.end();
                table::remove(self, false);
            }
            _ => {}
        }
    }

    /// Sends what there is room for; a message as a whole. EAGAIN, EMSGSIZE
    pub(super) fn send_data(
        &self,
        state: &mut State,
        flags: MessageFlags,
        source: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let (length, space) = (source.remaining(), state.credit.space());
        let Some(way) = state.way.filter(|_| length > 0) else { return Ok(0) };
        if !self.is_stream() && length > state.credit.peer_room as usize {
            return Err(Errno::EMSGSIZE);
        }
        let wanted = if self.is_stream() { length.min(space).min(PACKET as usize) } else { length };
        if space < wanted.max(1) || !link::has_room(way, &self.me) {
            return Err(Errno::EAGAIN);
        }
        let header = self.header(state, way, operation::DATA);
        let mut packets = Vec::new();
        packets.try_reserve_exact(wanted.div_ceil(DATA_MAX)).map_err(|_| Errno::ENOMEM)?;
        let mut done = 0;
        while done < wanted {
            let part = DATA_MAX.min(wanted - done);
            let mut packet = Vec::new();
            packet.try_reserve_exact(HEADER + part).map_err(|_| Errno::ENOMEM)?;
            packet.resize(HEADER + part, 0);
            let taken = source.take(&mut packet[HEADER..]);
            packet.truncate(HEADER + taken);
            done += taken;
            let ends = !self.is_stream() && done == wanted;
            let record = flags.contains(MessageFlags::END_OF_RECORD);
            let flags = if ends { END_OF_MESSAGE | if record { END_OF_RECORD } else { 0 } } else { 0 };
            let header = Header { length: taken as u32, flags, ..header };
            packet[..HEADER].copy_from_slice(header.as_bytes());
            if taken > 0 {
                packets.push(packet);
            }
            if taken < part {
                break;
            }
        }
        // The copy was cut: the caller tries once more.
        if !self.is_stream() && done < wanted {
            return Ok(0);
        }
        state.credit.sent = state.credit.sent.wrapping_add(done as u32);
        for packet in packets {
            link::send(way, packet);
        }
        Ok(done)
    }

    /// Receives what there is, and tells the peer of room.
    pub(super) fn receive_data(
        &self,
        state: &mut State,
        message: &mut Incoming,
        sink: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        let peeks = message.peeks();
        let (count, gone) = if let Some(first) = state.messages.front() {
            let (whole, wanted) = (first.length, first.length.min(sink.remaining()));
            if state.bytes.peek(0, sink, wanted) < wanted {
                return Ok(0);
            }
            message.found.set(MessageFlags::CUT, wanted < whole);
            message.found.set(MessageFlags::END_OF_RECORD, first.ends_record);
            if !peeks {
                state.messages.pop_front();
            }
            (if message.flags.contains(MessageFlags::CUT) { whole } else { wanted }, whole)
        } else {
            let start = if peeks { message.looked_at } else { 0 };
            let count = state.bytes.peek(start, sink, usize::MAX);
            message.looked_at += count;
            if peeks && count == 0 && sink.remaining() > 0 && start >= state.bytes.len() {
                let ended = state.peer_shutdown.contains(Shutdown::SEND);
                return if ended { Ok(0) } else { Err(Errno::EAGAIN) };
            }
            (count, count)
        };
        if !peeks {
            state.bytes.consume(gone);
            state.credit.forwarded = state.credit.forwarded.wrapping_add(gone as u32);
            let untold = state.credit.forwarded.wrapping_sub(state.credit.told);
            let scarce = state.credit.room.saturating_sub(untold) < PACKET;
            if untold > 0 && (scarce || !state.has_data(self.common.options.receive_low_water())) {
                self.tell(state, operation::CREDIT, 0);
            }
            if state.done && !state.has_data(1) {
                state.phase = Phase::Over;
            }
        }
        Ok(count)
    }
}

impl core::fmt::Debug for VsockSocket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("VsockSocket").field(&self.common).finish()
    }
}
