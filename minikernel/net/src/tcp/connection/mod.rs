//! A connection: the transmission control block of RFC 9293, section 3.3.1, and the events that change it.

mod acknowledge;
mod close;
mod data;
mod handshake;
mod info;
mod input;
mod loss;
mod output;
mod patience;
mod probe;
mod segment;
mod state;
mod timers;
mod tuning;
mod urgent;
mod user;

use super::congestion::Congestion;
use super::memory::Pressure;
use super::queue::RetransmissionQueue;
use super::rack::Rack;
use super::reassembly::Reassembly;
use super::rtt::RoundTrip;
use super::sack::SackBlocks;
use super::{Error, Flow, Seq, SocketOptions};
use crate::chunk::Chunks;

use loss::Recovery;
use timers::Timers;
use urgent::Urgent;

pub(super) use tuning::Buffers;

pub(super) use handshake::WINDOW_SHIFT;
pub use handshake::{Handshake, Path, Secret};
pub use info::Info;
pub use segment::reset_for;
pub use state::{Events, Readiness, State};
pub use user::Send;

/// A connection. It does nothing on its own: whoever holds it gives it what arrives ([`receive`](Self::receive)), what the program
/// wants ([`send`](Self::send), [`read`](Self::read), [`shut_down`](Self::shut_down), [`close`](Self::close),
/// [`abort`](Self::abort)) and, at its [`deadline`](Self::deadline), the time ([`expire`](Self::expire)); and after each of
/// these looks at the [`events`](Self::take_events).
#[derive(Debug)]
pub struct Connection {
    flow: Flow,
    options: SocketOptions,
    state: State,
    events: Events,
    error: Option<Error>,
    /// Whether nobody has it open any more (`SOCK_DEAD` in Linux).
    orphan: bool,
    /// Whether the program has shut down reading.
    deaf: bool,
    /// Whether it had shut down writing before there was a connection: it may not write, and no FIN says so.
    mute: bool,
    /// What there is too much of, among all connections.
    pub(super) pressure: Pressure,
    /// Whether there was room to write when the events were last taken.
    roomy: bool,
    snd: SendSpace,
    rcv: ReceiveSpace,
    /// What the program wrote and was not sent yet.
    unsent: Chunks,
    sent: RetransmissionQueue,
    /// What the program can read.
    received: Chunks,
    reassembly: Reassembly,
    sack: SackBlocks,
    rtt: RoundTrip,
    congestion: Congestion,
    recovery: Recovery,
    rack: Rack,
    timers: Timers,
    buffers: Buffers,
    counts: info::Counts,
}

/// The send sequence space (RFC 9293, section 3.3.1), with its names.
#[derive(Debug)]
struct SendSpace {
    una: Seq,
    nxt: Seq,
    /// The peer's window, scaled.
    wnd: u32,
    wl1: Seq,
    wl2: Seq,
    /// The largest window that the peer ever offered.
    max_wnd: u32,
    iss: Seq,
    /// Behind the last urgent byte, while it is not acknowledged.
    up: Option<Seq>,
    /// The shift of the windows that the peer sends (RFC 7323, section 2).
    shift: u8,
    /// What the peer and the path take in a segment, without options.
    mss: u16,
    /// The largest payload that the device takes at once.
    burst: u32,
    sack_permitted: bool,
    timestamps: bool,
    /// What is added to the clock for timestamps, so that they tell nothing about the machine (RFC 7323, section 5.4).
    timestamp_offset: u32,
    /// The program has closed its direction: a FIN follows the last byte.
    fin: bool,
    fin_sent: bool,
    /// The end of the last segment that was shorter than a full one (Minshall's variant of Nagle's algorithm).
    small: Seq,
    /// The last write said that more follows (`MSG_MORE`).
    more: bool,
    /// When data was last sent.
    last: u64,
}

/// The receive sequence space (RFC 9293, section 3.3.1), with its names.
#[derive(Debug)]
struct ReceiveSpace {
    nxt: Seq,
    irs: Seq,
    /// The right edge of the window that the peer was told; it never moves left.
    edge: Seq,
    /// Last.ACK.sent (RFC 7323, section 4.3).
    acknowledged: Seq,
    /// The shift of the windows that this end sends.
    shift: u8,
    /// Where the peer's FIN is, when it came before what precedes it.
    fin: Option<Seq>,
    /// It was taken.
    finished: bool,
    /// The MSS option that this end sends.
    advertised_mss: u16,
    /// The length of the segments that the peer sends, for the acknowledgment of every second.
    mss: u16,
    /// TS.Recent (RFC 7323, section 4.3), and when it was noted.
    recent: u32,
    recent_at: u64,
    /// When a segment last came.
    last: u64,
    urgent: Option<Urgent>,
}

impl Connection {
    /// Its two ends.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Where in its life it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What happened since the last call. Whoever waits for the connection is to be woken when there is anything.
    pub fn take_events(&mut self) -> Events {
        let has_room = self.has_room();
        if has_room && !self.roomy {
            self.events |= Events::WRITABLE;
        }
        self.roomy = has_room;
        core::mem::take(&mut self.events)
    }

    /// The error that ended the connection, told once (`SO_ERROR`).
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// What the program has set.
    pub fn options(&self) -> &SocketOptions {
        &self.options
    }

    /// The same, to change it; call [`options_changed`](Self::options_changed) afterwards.
    pub fn options_mut(&mut self) -> &mut SocketOptions {
        &mut self.options
    }

    /// Payload bytes of a full segment (`TCP_MAXSEG`; RFC 9293, section 3.7.1): options in every segment take from it.
    pub fn segment_size(&self) -> u32 {
        let size = match self.options.maximum_segment {
            0 => self.snd.mss,
            limit => self.snd.mss.min(limit),
        };
        let timestamps = if self.snd.timestamps { 12 } else { 0 };
        u32::from(size).saturating_sub(timestamps + self.sack.encoded_len()).max(1)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.events |= Events::STATE;
    }

    /// Ends the connection at once.
    fn finish(&mut self, error: Option<Error>) {
        if error.is_some() {
            self.error = error;
            self.events |= Events::ERROR;
        }
        self.timers = Timers::default();
        self.unsent = Chunks::new();
        self.sent = RetransmissionQueue::default();
        self.reassembly = Reassembly::default();
        self.enter(State::Closed);
        self.events |= Events::READABLE | Events::WRITABLE | Events::CLOSED;
    }
}
