//! How a connection begins: the active open, the result of a passive one, and SYN-SENT (RFC 9293, sections 3.5 and 3.10.7.3).

use super::info::Counts;
use super::loss::Recovery;
use super::timers::Timers;
use super::tuning::Buffers;
use super::{Connection, Events, ReceiveSpace, SendSpace, State, reset_for};
use crate::chunk::Chunks;
use crate::tcp::congestion::{Congestion, INITIAL_SEGMENTS};
use crate::tcp::memory::Pressure;
use crate::tcp::queue::{Marks, RetransmissionQueue, Sent};
use crate::tcp::rack::Rack;
use crate::tcp::reassembly::Reassembly;
use crate::tcp::rtt::RoundTrip;
use crate::tcp::sack::SackBlocks;
use crate::tcp::{Error, Flags, Flow, Manner, Options, Output, SegmentHeader, Seq, SocketOptions};

/// The shift that this end offers: it takes the window to the largest buffer (Linux chooses it from `tcp_rmem`, too).
pub(in crate::tcp) const WINDOW_SHIFT: u8 = 7;
/// The largest shift (RFC 7323, section 2.3).
pub(in crate::tcp) const MAX_SHIFT: u8 = 14;
/// What a peer takes that offers no MSS (RFC 9293, section 3.7.1).
pub(in crate::tcp) const DEFAULT_MSS: u16 = 536;
/// Less than this is not believed (Linux' `tcp_min_snd_mss`): options must fit, and something beside them.
pub(in crate::tcp) const MIN_MSS: u16 = 48;

/// What the layer below knows of the path to a peer.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The MTU without the headers of IP and of TCP, of which options are no part: 1460 for IPv4 on Ethernet.
    pub mss: u16,
    /// The largest payload that the device takes at once and cuts; zero if it does not.
    pub burst: u32,
}

/// The numbers that begin a connection, which nobody else may guess (RFC 6528; RFC 7323, section 5.4).
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    /// ISS.
    pub sequence: Seq,
    /// Where the clock of the timestamps begins.
    pub timestamp_offset: u32,
}

/// What a completed passive handshake agreed on.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The ends.
    pub flow: Flow,
    /// The path between them.
    pub path: Path,
    /// This end's numbers.
    pub secret: Secret,
    /// The peer's initial sequence number.
    pub irs: Seq,
    /// The options of the peer's SYN, without those that were not accepted.
    pub offered: Options,
    /// The longest segment that this end takes.
    pub mss: u16,
    /// Its first window, which is not scaled (RFC 7323, section 2.2).
    pub window: u16,
    /// How this end's packets go.
    pub manner: Manner,
    /// When the SYN was answered, if it was answered once: the answer's acknowledgment gives a round-trip time.
    pub answered: Option<u64>,
}

impl Connection {
    /// A connection that is yet to be [opened](Self::open).
    pub fn connect(flow: Flow, options: SocketOptions, path: Path, secret: Secret, now: u64) -> Self {
        Self::new(flow, options, path, secret, now)
    }

    /// Sends the SYN (RFC 9293, section 3.10.1).
    pub fn open(&mut self, now: u64, out: &mut dyn Output) -> Result<(), Error> {
        self.sent.reserve()?;
        let start = self.snd.iss;
        self.snd.nxt = start + 1;
        let payload = Chunks::new();
        self.sent.push(Sent { start, end: self.snd.nxt, at: now, marks: Marks::SYN, payload });
        self.timers.started = now;
        self.emit(now, Flags::SYN, start, Chunks::new(), out);
        self.arm(now);
        Ok(())
    }

    /// The connection of a handshake that a peer began and completed. The segment that completed it is still to be
    /// [received](Self::receive): it opens the window and may carry data.
    pub fn accept(handshake: &Handshake, options: SocketOptions, now: u64) -> Self {
        let mut connection = Self::new(handshake.flow, options, handshake.path, handshake.secret, now);
        connection.snd.una = handshake.secret.sequence + 1;
        connection.snd.nxt = connection.snd.una;
        connection.synchronize(now, handshake.irs, &handshake.offered);
        if let Some(at) = handshake.answered {
            connection.rtt.measure(now, now.saturating_sub(at));
        }
        connection.rcv.edge = connection.rcv.nxt;
        connection.announce_window(true);
        connection.rcv.acknowledged = connection.rcv.nxt;
        connection.establish(now);
        connection
    }

    fn new(flow: Flow, options: SocketOptions, path: Path, secret: Secret, now: u64) -> Self {
        let iss = secret.sequence;
        let snd = SendSpace {
            una: iss,
            nxt: iss,
            wnd: 0,
            wl1: Seq::default(),
            wl2: iss,
            max_wnd: 0,
            iss,
            up: None,
            shift: 0,
            mss: path.mss,
            burst: path.burst,
            sack_permitted: true,
            timestamps: true,
            timestamp_offset: secret.timestamp_offset,
            fin: false,
            fin_sent: false,
            small: iss,
            more: false,
            last: now,
        };
        let rcv = ReceiveSpace {
            nxt: Seq::default(),
            irs: Seq::default(),
            edge: Seq::default(),
            acknowledged: Seq::default(),
            shift: WINDOW_SHIFT,
            fin: None,
            finished: false,
            advertised_mss: options.announced_mss(path.mss),
            mss: DEFAULT_MSS,
            recent: 0,
            recent_at: 0,
            last: now,
            urgent: None,
        };
        Self {
            congestion: Congestion::new(options.congestion, u32::from(path.mss)),
            buffers: Buffers::new(&options, path.mss, now),
            recovery: Recovery::new(iss),
            flow,
            options,
            state: State::SynSent,
            events: Events::empty(),
            error: None,
            orphan: false,
            deaf: false,
            mute: false,
            roomy: true,
            pressure: Pressure::empty(),
            snd,
            rcv,
            unsent: Chunks::new(),
            sent: RetransmissionQueue::default(),
            received: Chunks::new(),
            reassembly: Reassembly::default(),
            sack: SackBlocks::default(),
            rtt: RoundTrip::new(),
            rack: Rack::default(),
            timers: Timers::default(),
            counts: Counts::default(),
        }
    }

    /// Takes what the peer's SYN says.
    fn synchronize(&mut self, now: u64, irs: Seq, offered: &Options) {
        (self.rcv.irs, self.rcv.nxt, self.rcv.edge) = (irs, irs + 1, irs + 1);
        self.snd.wl1 = irs;
        let mss = offered.maximum_segment_size.unwrap_or(DEFAULT_MSS).max(MIN_MSS);
        self.snd.mss = self.snd.mss.min(mss);
        self.snd.sack_permitted &= offered.sack_permitted;
        match offered.window_scale {
            Some(shift) => self.snd.shift = shift.min(MAX_SHIFT),
            None => self.rcv.shift = 0,
        }
        match offered.timestamps {
            Some(timestamps) => (self.rcv.recent, self.rcv.recent_at) = (timestamps.value, now),
            None => self.snd.timestamps = false,
        }
        self.rcv.mss = self.segment_size().min(u32::from(self.rcv.advertised_mss)) as u16;
        self.congestion.window = INITIAL_SEGMENTS * self.segment_size();
    }

    pub(super) fn establish(&mut self, now: u64) {
        self.enter(State::Established);
        self.events |= Events::CONNECTED | Events::WRITABLE;
        self.rcv.last = now;
        self.timers.begin(now, &self.options);
        self.buffers.connected(&self.options, self.segment_size());
    }

    /// A segment in SYN-SENT (RFC 9293, section 3.10.7.3).
    pub(super) fn receive_syn_sent(
        &mut self,
        now: u64,
        header: &SegmentHeader,
        payload: usize,
        out: &mut dyn Output,
    ) {
        let acknowledges = header.flags.contains(Flags::ACK);
        if acknowledges && !(header.acknowledgment > self.snd.iss && header.acknowledgment <= self.snd.nxt) {
            reset_for(&self.flow, header, payload, out);
            return;
        }
        if header.flags.contains(Flags::RST) {
            if acknowledges {
                self.finish(Some(Error::Refused));
            }
            return;
        }
        if !header.flags.contains(Flags::SYN) {
            return;
        }
        self.synchronize(now, header.sequence, &header.options);
        self.set_peer_window(u32::from(header.window));
        if !acknowledges {
            // Both ends have opened at once (RFC 9293, section 3.5, figure 8).
            self.enter(State::SynReceived);
            self.timers.started = now;
            self.retransmit(0, 1, now, out);
            self.arm(now);
            return;
        }
        self.acknowledge_syn(now, header.acknowledgment);
        self.establish(now);
        // The last segment of the handshake may be the first with data; a program that is to send its request at once has none yet.
        self.emit_acknowledgment(now, out);
        self.arm(now);
    }

    /// Our SYN has arrived.
    pub(super) fn acknowledge_syn(&mut self, now: u64, acknowledgment: Seq) {
        let mut sample = None;
        self.sent.acknowledge(acknowledgment, &mut |syn, _| {
            sample = (!syn.marks.contains(Marks::REPEATED)).then(|| now.saturating_sub(syn.at));
        });
        match sample {
            Some(sample) => self.rtt.measure(now, sample),
            None => self.rtt.lost_syn(),
        }
        self.rtt.backoff = 0;
        self.timers.progress(now);
        (self.snd.una, self.snd.wl2) = (acknowledgment, acknowledgment);
        self.snd.small = acknowledgment;
        self.recovery = Recovery::new(self.snd.iss);
    }
}

impl SendSpace {
    /// The window of a segment, as it is on the wire, scaled.
    pub(super) fn scaled(&self, window: u16) -> u32 {
        u32::from(window) << self.shift
    }
}

impl Connection {
    /// Takes the peer's window.
    pub(super) fn set_peer_window(&mut self, window: u32) {
        self.snd.wnd = window;
        self.snd.max_wnd = self.snd.max_wnd.max(window);
    }
}
