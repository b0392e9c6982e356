//! How much may be buffered: limits that grow with use, and the window that follows from them (RFC 9293, sections 3.8.6 and 3.8.6.2.2).

use super::Connection;
use crate::tcp::memory::Pressure;
use crate::tcp::{MILLISECOND, Seq, SocketOptions};

/// The least that may be buffered for sending (`SOCK_MIN_SNDBUF`).
pub(super) const SEND_MIN: u32 = 4608;
/// Segments that a window grows by beyond what was read, so that the peer's slow start is never held back (Linux' `tcp_rcv_space_adjust`).
const HEADROOM: u32 = 16;

/// The limits, in bytes of payload.
#[derive(Debug)]
pub(in crate::tcp) struct Buffers {
    pub send: u32,
    pub receive: u32,
    /// What the program read in the best round trip so far, and in this one, which began then.
    best: u32,
    read: u32,
    began: u64,
}

impl Buffers {
    pub fn new(options: &SocketOptions, mss: u16, now: u64) -> Self {
        let first = options.receive_limits.0;
        let best = (10 * u32::from(mss)).min(first);
        let mut buffers = Self { send: 0, receive: first, best, read: 0, began: now };
        buffers.options_changed(options);
        buffers.connected(options, u32::from(mss));
        buffers
    }

    /// The window of the answer to a SYN.
    pub fn first_window(options: &SocketOptions) -> u16 {
        Self::new(options, 0, 0).receive.min(u32::from(u16::MAX)) as u16
    }

    /// Takes the sizes that the program has set.
    pub fn options_changed(&mut self, options: &SocketOptions) {
        match options.receive_buffer {
            Some(size) => self.receive = size / 2,
            // What the program waits for must find room (`tcp_set_rcvlowat` in Linux).
            None => self.receive = self.receive.max(options.receive_low_water.min(options.receive_limits.1)),
        }
        if let Some(size) = options.send_buffer {
            self.send = (size / 2).max(SEND_MIN / 2);
        }
        if options.window_clamp != 0 {
            self.receive = self.receive.min(options.window_clamp);
        }
    }

    /// The segments' length is known: room for two initial windows.
    pub fn connected(&mut self, options: &SocketOptions, segment: u32) {
        if self.send == 0 {
            self.send = (20 * segment).min(options.send_limit).max(SEND_MIN);
        }
    }

    /// Twice the congestion window: one in flight, one to follow it.
    pub fn grow_send(&mut self, options: &SocketOptions, window: u32) {
        if options.send_buffer.is_none() {
            self.send = self.send.max(window.saturating_mul(2).min(options.send_limit));
        }
    }

    /// The program read `count` bytes: a window is twice what it reads in a round trip (dynamic right-sizing).
    pub fn grow_receive(
        &mut self,
        options: &SocketOptions,
        count: u32,
        segment: u32,
        round_trip: u64,
        now: u64,
    ) {
        self.read = self.read.saturating_add(count);
        if now.saturating_sub(self.began) < round_trip {
            return;
        }
        // As much as the best is enough: it may be the window that kept it from being more.
        if self.read >= self.best {
            self.best = self.read;
            let most = options.receive_limits.1;
            let clamp = if options.window_clamp == 0 { most } else { options.window_clamp };
            if options.receive_buffer.is_none() {
                let wanted = self.best.saturating_mul(2).saturating_add(HEADROOM * segment);
                self.receive = self.receive.max(wanted.min(most)).min(clamp);
            }
        }
        (self.read, self.began) = (0, now);
    }
}

impl Connection {
    /// What to write in a segment's window field, moving the window's right edge where it is worth telling. In a SYN it is not scaled.
    pub(super) fn announce_window(&mut self, syn: bool) -> u16 {
        let shift = if syn { 0 } else { self.rcv.shift };
        let most = u32::from(u16::MAX) << shift;
        if self.edge_may_move() {
            self.rcv.edge = self.wanted_edge();
        }
        // Rounded up, so that the edge never moves left (RFC 7323, section 2.4).
        let window = (self.rcv.edge - self.rcv.nxt).min(most).div_ceil(1 << shift).min(u32::from(u16::MAX));
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt + (window << shift));
        window as u16
    }

    /// Whether a new edge differs enough: by a segment or half of the buffer (receiver's silly window avoidance, RFC 9293, section 3.8.6.2.2).
    fn edge_may_move(&self) -> bool {
        let step = u32::from(self.rcv.mss).min(self.buffers.receive / 2);
        let wanted = self.wanted_edge();
        wanted > self.rcv.edge && wanted - self.rcv.edge >= step
    }

    fn wanted_edge(&self) -> Seq {
        let used = (self.received.len() + self.reassembly.len()) as u32;
        let most = u32::from(u16::MAX) << self.rcv.shift;
        // Under pressure it is small (`tcp_clamp_window` in Linux).
        let small = if self.pressure.is_empty() { u32::MAX } else { 4 * u32::from(self.rcv.advertised_mss) };
        self.rcv.nxt + self.buffers.receive.min(small).saturating_sub(used).min(most)
    }

    /// Bytes of memory that it holds; a frame is about twice as large as its payload.
    pub(in crate::tcp) fn held(&self) -> usize {
        self.queued() + 2 * (self.received.len() + self.reassembly.len())
    }

    /// Whether reading has made so much room that the peer must learn of it: twice what it knows (Linux' `tcp_cleanup_rbuf`).
    pub(super) fn window_update_due(&self) -> bool {
        let known = self.rcv.edge - self.rcv.nxt;
        let wanted = self.wanted_edge().since(self.rcv.nxt);
        self.edge_may_move() && wanted / 2 >= known
    }

    /// How many bytes a write may add now: none where so many wait to be sent that more would do no good (`tcp_stream_memory_free` in Linux).
    pub fn room(&self) -> usize {
        if self.unsent.len() >= self.options.unsent_low_water as usize {
            return 0;
        }
        self.send_limit().saturating_sub(self.queued())
    }

    /// Whether a program that waits for room is to be woken: a third is free (`sk_stream_is_writeable` in Linux).
    pub(super) fn has_room(&self) -> bool {
        let queued = self.queued();
        // Half of what may wait to be sent, which is less than what closes it altogether.
        let drained = self.unsent.len() < self.options.unsent_low_water.div_ceil(2) as usize;
        let room = self.send_limit().saturating_sub(queued);
        drained && room > 0 && room >= queued / 2
    }

    /// How many bytes may be queued.
    fn send_limit(&self) -> usize {
        let full = self.pressure.contains(Pressure::FULL);
        (if full { self.buffers.send.min(SEND_MIN) } else { self.buffers.send }) as usize
    }

    /// Bytes that were written and are not acknowledged (`SIOCOUTQ`).
    pub fn queued(&self) -> usize {
        self.unsent.len() + (self.snd.nxt - self.snd.una) as usize
    }

    /// Bytes that were written and not yet sent (`SIOCOUTQNSD`).
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// The sizes of the buffers as Linux tells them (`SO_SNDBUF`, `SO_RCVBUF`): twice the payload that they take.
    pub fn buffer_sizes(&self) -> (u32, u32) {
        let twice = |size: u32| size.saturating_mul(2);
        (self.options.send_buffer.unwrap_or(twice(self.buffers.send)), twice(self.buffers.receive))
    }

    /// The program read `count` bytes.
    pub(super) fn tune_receive(&mut self, count: usize, now: u64) {
        if self.pressure.contains(Pressure::HIGH) {
            return;
        }
        let round_trip = self.rtt.smoothed().unwrap_or(100 * MILLISECOND);
        let segment = u32::from(self.rcv.mss);
        self.buffers.grow_receive(&self.options, count as u32, segment, round_trip, now);
    }
}
